-- inspect: how deliveries stand at a moment, and what claim would do with each if it alone were due. It reads only.
-- ARGV  options, then the deliveries that are asked about
-- returns  {the store's time, gates of each delivery, their records, history lines of the reference, facts of each of its deliveries,
--          workers (flat), {closed open half-open or ramping, until (ms) or 0} of each provider that is named}
-- Facts   {entries of its recipient on the suppression list: of all and of the merchant, the recipient's pause, its counts}
-- A gate  {what becomes of it, until (ms) or 0, why, field, entry} of each that does not let the retry pass, in the order of claim.
-- keys: deliveries suppressions pauses cancels sent modes history breakers standing workers meta

local options = cjson.decode(ARGV[1]) -- per_recipient, per_claim, rate, providers, silence_is_good as in claim;
-- without a policy the gates of caps and providers are left out
-- at: the moment (ms), else now; reference: the digest of one, whose deliveries are asked about; names: of providers

-- Nothing is written.
-- luacheck: ignore write_changes

-- include: shared/clock
-- include: shared/changes
-- include: shared/record
-- include: shared/active
-- include: shared/elements
-- include: shared/multi_recipient
-- include: shared/gates
local providers = options.providers
-- include: shared/breakers
-- include: shared/provider_gate
-- include: shared/verdict
-- include: shared/deliveries_of

local has_policy = options.per_claim ~= nil
local store_now = now
now = options.at or now

-- Returns closed, open, half-open or ramping, and until when (ms), 0 where that is not known.
local function breaker_state(one)
  local head, breaker = one.head, one.breaker
  if head.s then
    return head.s == "open" and "open" or "half-open", head.s == "open" and head.u or 0
  elseif breaker and head.r and now < head.r + breaker.ramp_up then
    return "ramping", head.r + breaker.ramp_up
  end
  return "closed", 0
end

-- Of what does not wait only what stopped it is asked.
local function gates_of(retry)
  local found = {}
  local function add(what, until_ms, why, field, entry)
    if what then
      found[#found + 1] = { what, math.ceil(until_ms or 0), why, field or "", entry or "" }
    end
  end
  if retry.record.s ~= "waiting" then
    add(over_gate(retry))
    return found
  end
  local mode = mode_entry(retry.merchant)
  if mode.entry.mode == "off" then
    add("waiting", nil, "off", mode.whose, mode.raw)
  end
  for _, gate in ipairs(GATES) do
    if gate == pause_gate then
      each_pause(retry, function(_, ends, field, entry)
        add("waiting", ends, "paused", field, entry)
      end)
    elseif gate == cap_gate and has_policy then
      each_cap(retry, function(_, field, cap, raw)
        local one = {}
        look_at_cap(one, field, cap, raw)
        add(one.free_at and "waiting", one.free_at, "capped", field)
      end)
    elseif gate == provider_gate and in_hand[retry.provider] then
      local what, _, why = gate(retry)
      local state, until_ms = breaker_state(in_hand[retry.provider])
      add(what, until_ms, why, state)
    elseif gate ~= cap_gate and gate ~= provider_gate then
      add(gate(retry))
    end
  end
  if mode.entry.mode == "observe" then
    add("observed", nil, "observe", mode.whose, mode.raw)
  end
  return found
end

local lines = options.reference and hget(history, options.reference)
local ids = options.reference and deliveries_of(options.reference, lines or "") or { unpack(ARGV, 2) }
local raws, retries, about = hmget(deliveries, ids), {}, {}
for n, raw in ipairs(raws) do
  local record, payload, recipients = parse_record(raw)
  if record and record.s ~= "waiting" then
    record.rs = nil -- its recipients were let go
  end
  retries[n] = record and retry_of(ids[n], record, payload, recipients) or false
end
read_gates(retries)
if has_policy then
  read_providers(retries)
end
local gates = {}
for n, retry in ipairs(retries) do
  gates[n] = retry and gates_of(retry) or {}
end
local states = {}
read_breakers(options.names or {})
for n, name in ipairs(options.names or {}) do
  states[n] = { breaker_state(in_hand[name]) }
end
for n, raw in ipairs(options.reference and raws or {}) do
  local _, payload = parse_record(raw)
  local fields, own = payload and parse_payload(payload), rid_of(ids[n])
  local entries = hmget(suppressions, { own, fields and own .. "@" .. text(fields[4]) })
  about[n] = { entries[1], entries[2] or false, hget(pauses, "recipient:" .. own), hget(standing, own) }
end
return { store_now, gates, raws, lines or false, about, redis.call("HGETALL", workers), states }
