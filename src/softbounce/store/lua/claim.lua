-- claim: leases due retries, merchants in turn, the nearest deadline first, within the hand-over rate.
-- effects  due retries move from the schedule to the ready list; leased ones go back, scored by the end of their lease;
--          suppressed, cancelled, delivered and late ones end; paused and capped ones wait on; three strikes hold one;
--          retries of an earlier claim whose answer the caller did not get are due again, without a strike
-- returns  {mode, idle (0 or 1), now, delivery, token, record of each lease (flat), {delivery, outcome, reason} of each that ended,
--          number of claims so far, why hand-overs must wait for a person (or ""),
--          {provider, state} of each breaker that opened or closed}
-- keys: schedule ready turns deliveries suppressions pauses cancels sent modes history cases open_cases
--       members notices notice_bodies counters claims meta breakers audit damaged

local options = cjson.decode(ARGV[1]) -- limit, lease, rate, per_recipient, per_claim ({count, per}), history (ms), epoch, seen,
-- providers (name or "*" -> {rate, breaker}), silence_is_good (nobody reports deliveries)
-- soon (how many leave within a minute), caller ({name, claim: its number, answered: the newest whose answer came})

-- include: shared/full_store
-- include: shared/clock
-- include: shared/changes
-- include: shared/record
-- include: shared/history
-- include: shared/notice
-- include: shared/case
-- include: shared/set_aside
-- include: shared/active
-- include: shared/take_back
-- include: shared/elements
-- include: shared/multi_recipient
-- include: shared/gates
-- include: claim/leaving
-- include: claim/read
-- include: claim/queue

local providers = options.providers
-- include: shared/breakers
-- include: shared/breaker_changes
-- include: shared/provider_gate
-- include: claim/provider
-- include: shared/verdict

local GAP = 6 * 3600 * 1000 -- ms without a claim after which a person must look: an old backup, or a weekend off
local FEW = 20 -- retries with one strike that are claimed together
local REMEMBERED = 3600 * 1000 -- ms that a claim is remembered; its leases are over by then
local ROOM = 100 -- retries read in one go: one of several recipients may have 40 KB

-- The epoch and the number of claims that this worker has seen tell a restored older state from a clock that was moved.
local known = redis.call("HMGET", meta, "swept", "epoch", "rate_left", "rate_at")
local swept, number = tonumber(known[1]), redis.call("HINCRBY", meta, "claims", 1)
redis.call("HSET", meta, "swept", now)
local mode = mode_of("*")
local alarm = ""
if options.epoch and options.epoch ~= known[2] then
  alarm = "the store lost its state: it came back empty, or is another one"
elseif options.seen and number <= options.seen then
  alarm = "the store went back to an older state"
elseif swept and now - swept > GAP and redis.call("ZCARD", schedule) + redis.call("ZCARD", ready) > 0 and mode ~= "off" then
  alarm = "no worker had run for over 6 h"
end
if alarm ~= "" then
  if mode ~= "off" then
    mode = "off"
    hset(modes, "*", cjson.encode({ mode = mode, by = "softbounce", at = now, reason = "quarantine: " .. alarm }))
  end
  open_case("incident\n\n\nquarantine\n", "", { kind = "incident", code = "quarantine", merchant = "", channel = "", detail = alarm })
end
write_changes()
local caller = options.caller
local last = caller and hget(claims, caller.name)
last = last and cjson.decode(last) or { n = 0, d = {} }
if caller and caller.claim <= last.n then -- this call was delayed, and nobody waits for its answer any more
  return { mode, 1, now, {}, {}, number, alarm, {} }
end
if caller and caller.answered < last.n then
  for n = 1, #last.d, 2 do
    local id = last.d[n]
    local record, payload, recipients = read_record(id)
    if record and record.s == "leased" and record.t == last.d[n + 1] then
      take_back(record)
      write_record(id, record, payload, recipients)
      zadd(schedule, now, id)
      work = work + 0.5
    end
  end
  write_changes()
end
if mode == "off" then
  redis.call("HSET", meta, "idle", now)
  return { mode, 1, now, {}, {}, number, alarm, {} }
end

-- 1. how many may leave now: a token bucket that holds the rate of one second
local rate = options.rate
local capacity = math.max(1, rate.count * 1000 / rate.per)
local left = tonumber(known[3]) or capacity
local at = tonumber(known[4]) or now
left = math.min(capacity, left + math.max(0, now - at) * rate.count / rate.per)

-- 2. which of them leave
local leases, ended, tokens, leased = {}, {}, {}, 0

local function keep(retry, moment)
  local raw = format_record(retry.record, retry.payload, retry.recipients)
  hset(deliveries, retry.id, raw)
  zadd(schedule, moment, retry.id)
  return raw
end

local function wait(retry, until_ms, why)
  retry.record.s, retry.record.w = "waiting", why
  keep(retry, until_ms)
end

local function case_for(retry, kind)
  local record = retry.record
  local reference, channel, code = retry.fields[1], retry.fields[2], retry.fields[8]
  record.g = kind .. "\n" .. retry.merchant .. "\n" .. channel .. "\n" .. code .. "\n"
  return open_case(record.g, retry.id, {
    kind = kind, merchant = retry.merchant, channel = channel, code = code, detail = "", sample = reference, rule = "",
  })
end

local function finish_it(retry, outcome, why)
  local id, record, payload, recipients = retry.id, retry.record, retry.payload, retry.recipients
  record.s, record.e, record.z = "ended", outcome, now + options.history
  if why == "too_late" then
    local case = case_for(retry, "exhausted")
    notify("given_up", id, record.a, { code = retry.fields[8], why = why, case = case, tries = record.a - 1 }, payload, recipients)
  end
  if outcome == "delivered" then
    notify("recovered", id, "0", { tries = record.a - 1, after = now - record.f * 1000 }, payload, recipients)
  end
  remember(id, string.format('"k":"%s","a":%d,"n":"%s"}', outcome, record.a, why))
  write_record(id, record, payload, "")
  zrem(schedule, id)
  redis.call("HINCRBY", counters, "claim_" .. outcome, 1)
  table.insert(ended, { id, outcome, why })
end

local function hold(retry)
  local id, record = retry.id, retry.record
  record.s, record.z, record.j = "held", now + options.history, 1
  local case = case_for(retry, "crash_loop")
  notify("held", id, record.t, { code = retry.fields[8], case = case, deadline = record.x * 1000 }, retry.payload, retry.recipients)
  remember(id, string.format('"k":"held","a":%d,"n":"three hand-overs began and none ended"}', record.a))
  write_record(id, record, retry.payload, retry.recipients)
  zrem(schedule, id)
  table.insert(ended, { id, "held", "crash loop" })
end

local function lease(retry, strikes)
  local id, record = retry.id, retry.record
  record.t = record.t + 1
  record.c, record.b = now, record.a
  left = left - 1
  if mode_of(retry.merchant) == "observe" then -- its own mode, else that of all
    record.s, record.z, record.j = "out", now + options.history, 1
    remember(id, string.format('"k":"observed","a":%d}', record.a))
    write_record(id, record, retry.payload, "")
    zrem(schedule, id)
    table.insert(ended, { id, "observed", "mode is observe" })
    return
  end
  record.s, record.k, record.kt = "leased", strikes + 1, record.kt or math.floor(now / 1000)
  local raw, base = keep(retry, now + options.lease), 3 * leased
  leases[base + 1], leases[base + 2], leases[base + 3] = id, record.t, raw
  tokens[2 * leased + 1], tokens[2 * leased + 2] = id, record.t
  leased = leased + 1
end

local examined, leaving, company, is_full = 0, 0, 0, false -- company: the number of strikes that each of the leaving retries has

-- Returns an outcome, held or waiting, until when it waits, why, and the gate; nil where the retry leaves.
local function verdict(retry)
  for n = 1, #GATES do
    local what, until_ms, why = GATES[n](retry)
    if what then
      return what, until_ms, why, GATES[n]
    end
  end
end

-- Returns whether the retry was decided. false: it stays in its queue, for a claim in which nothing else leaves.
local function examine(retry)
  local record, strikes = retry.record, strikes_of(retry.record)
  if strikes == 0 then
    record.k, record.kt = nil, nil -- strikes that are too old are forgotten
  end
  if leaving > 0 and strikes ~= company then
    return false -- with one strike it leaves among few, with two alone, so that it cannot give strikes to others
  end
  local what, until_ms, why, gate = verdict(retry)
  if what == "held" then
    hold(retry)
  elseif what == "waiting" then
    if gate == provider_gate then
      wait_for_provider(retry, until_ms)
    end
    wait(retry, math.ceil(until_ms), why)
  elseif what then
    finish_it(retry, what, why)
  else
    pass_provider(retry)
    each_cap(retry, note_sent)
    lease(retry, strikes)
    leaving, company = leaving + 1, strikes
    is_full = strikes > 1 or strikes == 1 and leaving == FEW
  end
  return true
end

-- Returns how many of the retries were decided.
local function deal(retries, budget)
  read_providers(retries)
  for n, retry in ipairs(retries) do
    if leaving >= budget or is_full then
      return n - 1
    elseif retry and not examine(retry) then
      is_full = true
      return n - 1
    end
    examined = examined + 1
  end
  return #retries
end

-- Decides without queues, where all that is due leaves soon. Returns how many were due; nil where a merchant is off, which needs queues.
local function take_due(budget)
  local due = redis.call("ZRANGEBYSCORE", schedule, "-inf", now, "LIMIT", 0, budget)
  for first = 1, #due, ROOM do
    local retries = read_retries({ unpack(due, first, math.min(first + ROOM - 1, #due)) })
    for _, retry in ipairs(retries) do
      if retry and mode_of(retry.merchant) == "off" then
        return nil
      end
    end
    deal(retries, budget)
    write_changes()
    if is_full or leaving >= budget or work >= WORK then
      break
    end
  end
  return #due
end

-- Decides the first of each merchant, then the second of each, and so on; where some have no more, the others go on.
local function take_in_turns(budget)
  local served, is_end = {}, false
  while leaving < budget and not is_full and work < WORK and looked < 2000 and examined < 2 * options.limit + 200 do
    local room, round, count = math.min(budget - leaving, ROOM), {}, 0
    if not is_end then
      round, count = next_lines(room)
      is_end = count < room
    else
      for _, line in ipairs(served) do
        if line.has_more then
          table.insert(round, line)
        end
      end
      if #round == 0 then
        break
      end
    end
    local share = math.ceil(room / math.max(#round, 1))
    local owners, places, ids = heads(round, share)
    if #ids > 0 then
      local retries = read_retries(ids, redis.call("ZMSCORE", schedule, unpack(ids)))
      local done = deal(retries, budget)
      write_changes()
      for n = 1, done do
        owners[n].left = owners[n].left - 1
        owners[n].taken = owners[n].taken + (retries[n] and 1 or 0)
      end
      if done > 0 then
        redis.call("ZREM", ready, unpack(places, 1, done))
      end
    end
    for _, line in ipairs(round) do
      line.has_more = #line.found == share
      line.is_empty = line.left == 0 and not line.has_more
      if count > 0 then
        table.insert(served, line)
      end
    end
  end
  end_turns(served)
end

local budget, due = math.min(options.limit, math.floor(left)), nil
if redis.call("ZCARD", ready) == 0 and redis.call("ZCOUNT", schedule, "-inf", now) <= math.min(left, options.soon) then
  due = take_due(budget)
end
if not due then
  due = line_up()
  if due < SORTED then -- else more is due, and the next in order is not known yet
    take_in_turns(budget)
  end
end
write_sent()
local told = news()
write_breakers()
hset(meta, "rate_left", string.format("%.3f", left))
hset(meta, "rate_at", stamp)
if caller then
  hset(claims, caller.name, cjson.encode({ n = caller.claim, d = tokens, z = now + REMEMBERED }))
end

local is_idle = due == 0 and examined == 0 and 1 or 0
if is_idle == 1 then
  hset(meta, "idle", stamp)
end
write_changes()
return { mode, is_idle, now, leases, ended, number, alarm, told }
