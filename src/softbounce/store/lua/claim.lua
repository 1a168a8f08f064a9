-- claim: lease due retries, merchants in turn, the nearest deadline first, within the hand-over rate.
-- effects  due items move from the schedule to the ready list; leased ones go back with the end of their lease as score;
--          suppressed, cancelled, delivered, expired ones end; paused and capped ones wait on; three strikes hold
-- returns  {mode, idle (0 or 1), now, {delivery, token, record} flat for each lease, {delivery, outcome, reason} flat for each that ended,
--          number of claims so far, why hand-overs must wait for a person (or "")}
local schedule = KEYS[1] -- zset  delivery -> due, or end of lease (ms)
local ready = KEYS[2] -- zset  merchant, deadline, delivery (by name)
local turns = KEYS[3] -- zset  merchant with ready items -> its turn
local deliveries = KEYS[4] -- hash  delivery -> record
local suppressions = KEYS[5] -- hash  recipient[@merchant] -> entry
local pauses = KEYS[6] -- hash  kind:value -> {z: until}
local cancels = KEYS[7] -- hash  kind:value -> {a: made at (ms), z: forget at}
local sent = KEYS[8] -- hash  kind:value -> {at: times of resends (s), z: forget at}
local modes = KEYS[9] -- hash  merchant or "*" -> {mode, ...}
local history = KEYS[10] -- hash  reference -> lines
local cases = KEYS[11] -- hash  case -> entry
local open_cases = KEYS[12] -- hash  group -> case
local members = KEYS[13] -- zset  group, delivery (by name)
local notices = KEYS[14] -- zset  notice -> due, or end of lease (ms)
local notice_bodies = KEYS[15] -- hash  notice -> body
local counters = KEYS[16] -- hash  outcome -> count
local meta = KEYS[17] -- hash  now, epoch, claims, swept, rate_left, rate_at, idle, case

local options = cjson.decode(ARGV[1]) -- limit, lease, rate, per_recipient, per_claim ({count, per}), history (ms), epoch, seen

-- include: clock
-- include: record
-- include: history
-- include: notice
-- include: case
-- include: active
-- include: several

local GAP = 6 * 3600 * 1000 -- nobody swept for so long: an old backup, or a weekend off
local STRIKES, STRIKES_WITHIN = 3, 72 * 3600

local function text(value) -- ids are numbers or texts; Lua writes 1e+15 for a long number
  return type(value) == "number" and string.format("%.0f", value) or value
end

local function mode_of(merchant)
  local entry = redis.call("HGET", modes, merchant)
  return entry and cjson.decode(entry).mode or "on"
end

-- What this worker knows of the store (its epoch, a number of claims seen) tells an older state from a clock that was set.
local swept, claims = tonumber(redis.call("HGET", meta, "swept")), redis.call("HINCRBY", meta, "claims", 1)
redis.call("HSET", meta, "swept", now)
local alarm = ""
if options.epoch and options.epoch ~= redis.call("HGET", meta, "epoch") then
  alarm = "the store lost its state: it came back empty, or is another one"
elseif options.seen and claims <= options.seen then
  alarm = "the store went back to an older state"
elseif swept and now - swept > GAP and redis.call("ZCARD", schedule) + redis.call("ZCARD", ready) > 0 and mode_of("*") ~= "off" then
  alarm = "no worker had run for over 6 h"
end
if alarm ~= "" then
  if mode_of("*") ~= "off" then
    redis.call("HSET", modes, "*", cjson.encode({ mode = "off", by = "softbounce", at = now, reason = "quarantine: " .. alarm }))
  end
  open_case("incident\n\n\nquarantine\n", "", { kind = "incident", code = "quarantine", merchant = "", channel = "", detail = alarm })
end
local mode = mode_of("*")
if mode == "off" then
  redis.call("HSET", meta, "idle", now)
  return { mode, 1, now, {}, {}, claims, alarm }
end

-- 1. what has become due gets ready
local due = redis.call("ZRANGEBYSCORE", schedule, "-inf", now, "LIMIT", 0, 1000)
for _, id in ipairs(due) do
  local record, payload = read_record(id)
  if not record then
    redis.call("ZREM", schedule, id)
  elseif record.v and record.v > 1 then
    redis.call("ZADD", schedule, now + 60000, id) -- a newer release wrote it; that release takes it
  else
    local merchant = text(cjson.decode(payload)[4])
    redis.call("ZREM", schedule, id)
    redis.call("ZADD", ready, 0, string.format("%s\n%010d\n%s", merchant, record.x, id))
    if not redis.call("ZSCORE", turns, merchant) then
      local first = redis.call("ZRANGE", turns, 0, 0, "WITHSCORES")
      redis.call("ZADD", turns, first[2] or 0, merchant)
    end
  end
end

-- 2. how many may leave now: a token bucket that holds one second
local rate = options.rate
local capacity = math.max(1, rate.count * 1000 / rate.per)
local left = tonumber(redis.call("HGET", meta, "rate_left")) or capacity
local at = tonumber(redis.call("HGET", meta, "rate_at")) or now
left = math.min(capacity, left + math.max(0, now - at) * rate.count / rate.per)

-- 3. pick
local leases, ended = {}, {}
local function paused_until(id, people, merchant, channel, code, claim, customer)
  local latest
  local names = { "merchant:" .. merchant, "channel:" .. channel, "code:" .. code, "claim:" .. claim, "customer:" .. customer,
    "reference:" .. string.sub(id, 1, 12) }
  for _, rid in ipairs(people) do
    table.insert(names, "recipient:" .. rid)
  end
  local entries = redis.call("HMGET", pauses, unpack(names))
  for _, entry in ipairs(entries) do
    local ends = entry and tonumber(string.match(entry, '"z":(%d+)'))
    if ends and ends > now and (not latest or ends > latest) then
      latest = ends
    end
  end
  return latest
end

-- What names people covers what waited when it was made; a reference or a claim covers what comes, too.
local function is_cancelled(record, id, merchant, claim, customer)
  local entries = redis.call("HMGET", cancels, "reference:" .. string.sub(id, 1, 12), "claim:" .. claim, "customer:" .. customer,
    "merchant:" .. merchant, "recipient:" .. string.sub(id, 13))
  for n, entry in ipairs(entries) do
    local made = entry and tonumber(string.match(entry, '"a":(%d+)'))
    if made and (n <= 2 or made >= record.f * 1000) then
      return true
    end
  end
  return false
end

-- A cap counts what left within its time. Returns when the next one may leave, or nil if one may leave now.
local function capped(field, cap)
  local raw = redis.call("HGET", sent, field)
  if not raw then
    return nil, {}
  end
  local times = {}
  for _, time in ipairs(cjson.decode(raw).at) do
    if time * 1000 > now - cap.per then
      table.insert(times, time)
    end
  end
  if #times >= cap.count then
    return times[#times - cap.count + 1] * 1000 + cap.per, times
  end
  return nil, times
end

local function note_sent(field, times, cap)
  table.insert(times, math.floor(now / 1000))
  redis.call("HSET", sent, field, cjson.encode({ at = times, z = now + cap.per }))
end

local function wait(id, record, payload, recipients, until_ms, why)
  redis.call("ZADD", schedule, until_ms, id)
  record.s, record.w = "waiting", why
  write_record(id, record, payload, recipients)
end

local function case_facts(kind, fields)
  return { kind = kind, merchant = text(fields[4]), channel = fields[2], code = fields[8], detail = "", sample = fields[1], rule = "" }
end

local function finish_it(id, record, payload, recipients, outcome, why, fields)
  record.s, record.e, record.z = "ended", outcome, now + options.history
  if why == "too_late" then
    local code, merchant, channel = fields[8], text(fields[4]), fields[2]
    record.g = "exhausted\n" .. merchant .. "\n" .. channel .. "\n" .. code .. "\n"
    local case = open_case(record.g, id, case_facts("exhausted", fields))
    notify("given_up", id, record.a, { code = code, why = why, case = case, tries = record.a - 1 }, payload, recipients)
  end
  if outcome == "delivered" then
    notify("recovered", id, "0", { tries = record.a - 1, after = now - record.f * 1000 }, payload, recipients)
  end
  remember(id, string.format('"k":"%s","a":%d,"n":"%s"}', outcome, record.a, why))
  write_record(id, record, payload, "")
  redis.call("HINCRBY", counters, "claim_" .. outcome, 1)
  table.insert(ended, { id, outcome, why })
end

local skipped, leaving, budget = 0, 0, math.min(options.limit, math.floor(left))
for _ = 1, options.limit * 2 + 200 do
  if leaving >= budget then
    break
  end
  local turn = redis.call("ZRANGE", turns, skipped, skipped, "WITHSCORES")
  local merchant = turn[1]
  if not merchant then
    break
  end
  local found = redis.call("ZRANGEBYLEX", ready, "[" .. merchant .. "\n", "[" .. merchant .. "\n\255", "LIMIT", 0, 1)[1]
  local merchant_mode = mode_of(merchant)
  if not found then
    redis.call("ZREM", turns, merchant)
  elseif merchant_mode == "off" then
    skipped = skipped + 1
  else
    local id = string.match(found, "([^\n]*)$")
    local record, payload, recipients = read_record(id)
    if not record or (record.s ~= "waiting" and record.s ~= "leased") or redis.call("ZSCORE", schedule, id) then
      redis.call("ZREM", ready, found) -- it ended, or was scheduled anew, while it stood in line
    else
      local fields = cjson.decode(payload)
      local channel, claim, customer, code = fields[2], text(fields[3]), text(fields[6]), fields[8]
      local rid = string.sub(id, 13)
      local strikes = record.k or 0
      if record.kt and math.floor(now / 1000) - record.kt > STRIKES_WITHIN then
        strikes, record.kt = 0, nil
      end
      if strikes > 0 and leaving > 0 then
        break -- claimed alone, so that it cannot convict its neighbours
      end
      redis.call("ZREM", ready, found)
      redis.call("ZADD", turns, tonumber(turn[2]) + 1, merchant)
      local is_new_try = record.b ~= record.a -- a second claim of the same try counts for no cap
      local arrived = "delivered:" .. string.sub(id, 1, 12) .. ":"
      local ends
      if record.rs then
        recipients, ends = still_wanted(id, record, recipients, merchant)
      end
      local people = record.rs or { rid }
      local paused = not record.q and paused_until(id, people, merchant, channel, code, claim, customer)
      local free_at, claim_times = capped("claim:" .. claim, options.per_claim)
      free_at = claim ~= "" and free_at or 0
      local times = {} -- of each person it goes to
      for n, who in ipairs(people) do
        local free
        free, times[n] = capped("recipient:" .. who, options.per_recipient)
        free_at = math.max(free_at, free or 0)
      end
      if is_active(cancels, arrived .. channel, arrived .. rid) then
        finish_it(id, record, payload, recipients, "delivered", "late receipt", fields)
      elseif is_cancelled(record, id, merchant, claim, customer) then
        finish_it(id, record, payload, recipients, "cancelled", "cancelled", fields)
      elseif is_active(suppressions, rid, rid .. "@" .. merchant) then
        finish_it(id, record, payload, recipients, "suppressed", "recipient is suppressed", fields)
      elseif ends then
        finish_it(id, record, payload, recipients, ends, "no recipient is left", fields)
      elseif record.x * 1000 < now and record.q ~= 2 then
        finish_it(id, record, payload, recipients, "given_up", "too_late", fields)
      elseif strikes >= STRIKES then
        record.s, record.z, record.j = "held", now + options.history, 1
        record.g = "crash_loop\n" .. merchant .. "\n" .. channel .. "\n" .. code .. "\n"
        local case = open_case(record.g, id, case_facts("crash_loop", fields))
        notify("held", id, record.t, { code = code, case = case, deadline = record.x * 1000 }, payload, recipients)
        remember(id, string.format('"k":"held","a":%d,"n":"three hand-overs began and none ended"}', record.a))
        write_record(id, record, payload, recipients)
        table.insert(ended, { id, "held", "crash loop" })
      elseif paused then
        wait(id, record, payload, recipients, paused, "paused")
      elseif is_new_try and free_at > 0 then
        wait(id, record, payload, recipients, free_at, "rate")
      else
        record.t = record.t + 1
        record.c, record.b = now, record.a
        left, leaving = left - 1, leaving + 1
        if is_new_try then
          for n, who in ipairs(people) do
            if who ~= "" and string.sub(who, 1, 1) ~= "*" then
              note_sent("recipient:" .. who, times[n], options.per_recipient)
            end
          end
          if claim ~= "" then
            note_sent("claim:" .. claim, claim_times, options.per_claim)
          end
        end
        if mode == "observe" or merchant_mode == "observe" then
          record.s, record.z = "out", now + options.history
          remember(id, string.format('"k":"observed","a":%d}', record.a))
          write_record(id, record, payload, "")
          table.insert(ended, { id, "observed", "mode is observe" })
        else
          record.s, record.k, record.kt = "leased", strikes + 1, record.kt or math.floor(now / 1000)
          redis.call("ZADD", schedule, now + options.lease, id)
          write_record(id, record, payload, recipients)
          table.insert(leases, { id, record.t, redis.call("HGET", deliveries, id) })
        end
        if strikes > 0 then
          break
        end
      end
    end
  end
end
redis.call("HSET", meta, "rate_left", string.format("%.3f", left), "rate_at", now)

local is_idle = #leases == 0 and #ended == 0 and #due == 0 and 1 or 0
if is_idle == 1 then
  redis.call("HSET", meta, "idle", now)
end
return { mode, is_idle, now, leases, ended, claims, alarm }
