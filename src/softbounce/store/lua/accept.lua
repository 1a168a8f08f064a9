-- accept: give each event of a batch its outcome, once.
-- effects  attempt count, schedule, soft-bounce count, suppression, hold, case, notice, history; last the record with what it has seen
-- returns  for each event {outcome, attempt, due (ms or 0), case or "", escalated (0 or 1), first outcome of a duplicate or "",
--          cut (1: of this dead letter only the head was kept)}; nothing after the last that says something. The outcome "deferred":
--          a later release wrote the record, and this event is that release's to take; nothing is changed
-- keys: schedule deliveries standing suppressions pauses cancels history cases open_cases members notices
--       notice_bodies dead_letters counters audit meta delivered delivered_before brakes breakers damaged

local limits = cjson.decode(ARGV[1]) -- revision, min_delay, max_attempts, brake (absent: off), and the retention periods (ms)
local rules = cjson.decode(ARGV[2]) -- each rule of the batch once: what policy says, whatever the event
local probes = ARGV[3] -- 13 bytes, the hash of its delivery, of each event, then of each recipient where there are several
local PER_EVENT = 4 -- then for each event: facts, payload, recipients, history; the last three are kept as they are

-- include: shared/clock
-- include: shared/changes
-- include: shared/record
-- include: shared/history
-- include: shared/notice
-- include: shared/case
-- include: shared/set_aside
-- include: accept/brake
-- include: accept/suppress
-- include: shared/active
-- include: accept/evidence
-- include: shared/letter_bytes
-- include: accept/delivered

local providers = limits.providers
-- include: shared/breakers
-- include: accept/breaker_answers

local LATE = 5 * 60 * 1000 -- a report dated this much before the newest claim still answers it

local count = (#ARGV - 3) / PER_EVENT

-- One event on its way through; every step below reads and writes these.
local place, event, rule, payload, to, said, id, record, old_payload, old_recipients, outcome, case, escalated, due
local is_newer -- whether a later release wrote a record that the event is about

-- Returns a record with its payload and recipients, or nothing; one that is damaged is set aside, and there is none from then on.
local function look_up(name)
  local raw = hget(deliveries, name)
  local found, its_payload, its_recipients = parse_record(raw)
  if found then
    return found, its_payload, its_recipients
  elseif its_payload == "newer" then
    is_newer = true
  elseif its_payload == "damaged" then
    set_aside(name, raw)
  end
end

-- include: accept/dedupe
-- include: accept/outcomes
-- include: accept/soft_bounces
-- include: accept/failure
-- include: accept/arrived

-- A letter as a whole, `payload`, or once their budget is used up only with the head of its bytes, `to`. Returns whether it was cut.
local function keep_dead_letter()
  local known = hget(dead_letters, event.i) or ""
  local seen = tonumber(string.match(known, '^{"n":(%d+)')) or 0 -- a replay that fails again must be told from the first time
  local kept = tonumber(hget(meta, "dead_letter_bytes")) or 0
  local is_cut = #payload > #known and #payload > #to and kept + #payload > limits.dead_letter_bytes
  local body = is_cut and to or payload
  local entry = string.format('{"n":%d,"at":%d,"z":%d,', seen + 1, now, now + limits.dead_letters) .. string.sub(body, 2)
  hset(dead_letters, event.i, entry)
  add_letter_bytes(#entry - #known)
  outcome = "dead_lettered"
  if event.poison then
    local facts = { kind = "crash_loop", merchant = "", channel = "", code = "", detail = "", letter = event.i }
    case = open_case("crash_loop\n\n\n\nreport", "", facts)
  end
  return is_cut
end

-- Reads the record. Returns the outcome that the event had before, if any; else whether it comes in place of its own bare report,
-- which named nobody and gives way.
local function seen_before()
  local bare_id = string.sub(id, 1, 12) .. "*" .. event.ch
  record, old_payload, old_recipients = look_up(id)
  local first, is_bare = seen_by(record)
  if not first and event.bare then
    first = seen_enriched()
  end
  if first and (event.bare or not is_bare) then
    return first
  end
  local replaces = is_bare
  local twin, twin_payload
  if bare_id ~= id then
    twin, twin_payload = look_up(bare_id)
  end
  if not is_newer and seen_by(twin) then
    replaces = true
    if twin.s == "held" then
      zrem(members, twin.g .. "\n\n" .. bare_id)
      twin.s, twin.e, twin.z, twin.g = "ended", "superseded", now + limits.history, nil
      write_record(bare_id, twin, twin_payload, "")
    end
  end
  return nil, replaces
end

local results = {}
local totals = {}
look_for_deliveries()
for n = 1, count do
  local first_arg = 3 + (n - 1) * PER_EVENT
  place = n
  event = cjson.decode(ARGV[first_arg + 1])
  payload, to, said = ARGV[first_arg + 2], ARGV[first_arg + 3], ARGV[first_arg + 4]
  rule = rules[event.rule]
  id = event.d
  outcome, case, escalated, due, is_newer = nil, "", nil, nil, false
  local attempt, first, is_cut = 0, "", false
  if event.y == "failure" then
    local before, replaces = seen_before()
    if before then
      outcome, first = "duplicate", before
    elseif not is_newer then
      accept_failure(replaces)
      attempt = record and record.a or 0
    end
  elseif event.y == "delivered" then
    accept_delivery()
    attempt = record and record.a or 0
    first = outcome == "duplicate" and "delivered" or ""
  elseif event.y == "dead_letter" then
    is_cut = keep_dead_letter()
    if is_cut then
      totals.dead_letters_cut = (totals.dead_letters_cut or 0) + 1
    end
  else
    outcome = "ignored"
  end
  outcome = outcome or "deferred" -- a later release's
  totals[outcome] = (totals[outcome] or 0) + 1
  if escalated then
    totals.escalated = (totals.escalated or 0) + 1
  end
  if case ~= "" or first ~= "" or is_cut then -- who is escalated has a case
    results[n] = { outcome, attempt, due or 0, case, escalated and 1 or 0, first, is_cut and 1 or 0 }
  else
    results[n] = { outcome, attempt, due }
  end
end
write_deliveries()
write_brakes()
write_breakers()
totals.deferred = nil -- it comes again
for name, total in pairs(totals) do
  hset(counters, name, string.format("%d", (tonumber(hget(counters, name)) or 0) + total))
end
write_changes()
return results
