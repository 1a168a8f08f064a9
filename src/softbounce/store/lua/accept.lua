-- accept: gives each event of a batch its outcome, once.
-- effects  writes schedule, soft bounces, suppression, case, notice and history, and last the record, which names the events it has seen
-- returns  for each event {outcome, attempt, due (ms or 0), case or "", escalated (0 or 1), first outcome of a duplicate or "",
--          cut (1: only the head of this dead letter was kept)}; values at the end that say nothing are left out. The outcome
--          "deferred" means: a newer release wrote the record and must take this event; nothing was changed
-- keys: schedule deliveries standing suppressions pauses cancels history cases open_cases members notices
--       notice_bodies dead_letters counters audit meta delivered delivered_before brakes breakers damaged sources
--       feedback

local limits = cjson.decode(ARGV[1]) -- revision, min_delay, max_attempts, brake (absent: off), and the retention periods (ms)
local rules = cjson.decode(ARGV[2]) -- each rule of the batch, once
local probes = ARGV[3] -- 14 bytes of hash for each event's delivery, then for each recipient where there are several
local PER_EVENT = 4 -- then for each event: facts, payload, recipients, history; the last three are kept as they are

-- include: shared/full_store
-- include: shared/clock
-- include: shared/changes
-- include: shared/record
-- include: shared/history
-- include: shared/notice
-- include: shared/case
-- include: shared/set_aside
-- include: accept/case_facts
-- include: accept/brake
-- include: shared/causes
-- include: accept/suppress
-- include: shared/active
-- include: shared/deliveries_of
-- include: shared/elements
-- include: shared/feedback
-- include: accept/evidence
-- include: shared/letter_bytes
-- include: accept/delivered

local providers = limits.providers
-- include: shared/breakers
-- include: shared/breaker_changes
-- include: accept/breaker_answers

local SILENT = { unanswered = true, presumed = true } -- ends without a report: a later one still counts
local LATE = 5 * 60 * 1000 -- a report may be dated this long (ms) before the newest claim and still answers it

local count = (#ARGV - 3) / PER_EVENT

-- The event in hand is one table: its facts, named as in store/encoding.py, and what the steps below read and find out.
--   place, delivery     its number in the batch, and the id of its delivery
--   rule                what policy says of it, one of `rules`
--   payload, recipients, said    texts that are stored unchanged; of a dead letter: all its bytes, and the first of them
--   record, old_payload, old_recipients    the stored delivery; nil where there is none
--   bare_id, bare_record, bare_payload, bare_recipients    the same of its bare report, where it is an arrival
--   is_newer            a later release wrote a record that it is about
--   first_outcome       of a duplicate: its first outcome;  replaces_bare: it replaces its bare report, and is no duplicate
--   state               the state of the delivery before this failure: new, or the record's
--   is_cancelled, has_arrived, is_disproved (by its arrival), is_answer (it uses up a try), is_repeated (its send was
--   reported before), verdict    what it means
--   outcome, attempt, due (ms), case ("": none), escalated (by which terms), is_cut    the answer to the caller

-- Returns the record that was read as `raw`, with its payload and recipients, or nothing; one that is damaged is set aside.
local function look_up(event, name, raw)
  local found, its_payload, its_recipients = parse_record(raw)
  if found then
    return found, its_payload, its_recipients
  elseif its_payload == "newer" then
    event.is_newer = true
  elseif its_payload == "damaged" then
    set_aside(name, raw)
  end
end

-- include: accept/messages
-- include: accept/dedupe
-- include: accept/sources
-- include: accept/outcomes
-- include: accept/disprove
-- include: accept/soft_bounces
-- include: accept/failure
-- include: accept/arrived
-- include: accept/opted_in

-- Stores a dead letter with all its bytes; once the budget of all letters is used up, with the first bytes only.
local function keep_dead_letter(event)
  local whole, head = event.payload, event.recipients
  local known = hget(dead_letters, event.i) or ""
  local seen = tonumber(string.match(known, '^{"n":(%d+)')) or 0 -- counts how often it came
  local kept = tonumber(hget(meta, "dead_letter_bytes")) or 0
  event.is_cut = #whole > #known and #whole > #head and kept + #whole > limits.dead_letter_bytes
  local body = event.is_cut and head or whole
  local entry = string.format('{"n":%d,"at":%d,"z":%d,', seen + 1, now, now + limits.dead_letters) .. string.sub(body, 2)
  hset(dead_letters, event.i, entry)
  add_letter_bytes(#entry - #known)
  event.outcome = "dead_lettered"
  if event.poison then
    local facts = { kind = "crash_loop", merchant = "", channel = "", code = "", detail = "", letter = event.i }
    event.case = open_case("crash_loop\n\n\n\nreport", "", facts)
  end
end

local function take_event(place)
  local first = 3 + (place - 1) * PER_EVENT
  local event = cjson.decode(ARGV[first + 1])
  event.payload, event.recipients, event.said = ARGV[first + 2], ARGV[first + 3], ARGV[first + 4]
  event.place, event.delivery, event.rule = place, event.d, rules[event.rule]
  event.case = ""
  return event
end

local function accept_event(event)
  note_source(event)
  if event.y == "failure" then
    look_for_duplicate(event)
    if event.first_outcome then
      event.outcome = "duplicate"
    elseif not event.is_newer then
      if event.repeats_id then
        note_repeated_id(event)
      end
      accept_failure(event)
      event.attempt = event.record and event.record.a
    end
  elseif event.y == "delivered" then
    accept_delivery(event)
    event.attempt = event.record and event.record.a
  elseif event.y == "dead_letter" then
    keep_dead_letter(event)
  elseif event.y == "opted_in" then
    accept_opt_in(event)
  else
    event.outcome = "ignored"
  end
  event.outcome = event.outcome or "deferred" -- only a newer release can take it
end

local totals = {} -- counter -> by how much it grows

local function count_in(name)
  totals[name] = (totals[name] or 0) + 1
end

local function count_event(event)
  count_in(event.outcome)
  if event.escalated then
    count_in("escalated")
  end
  if event.is_cut then
    count_in("dead_letters_cut")
  end
end

local function answer_to(event)
  local first = event.first_outcome or ""
  if event.case ~= "" or first ~= "" or event.is_cut then -- an escalated event always has a case
    return { event.outcome, event.attempt or 0, event.due or 0, event.case, event.escalated and 1 or 0, first, event.is_cut and 1 or 0 }
  end
  return { event.outcome, event.attempt or 0, event.due }
end

local answers = {}
look_for_deliveries()
for place = 1, count do
  local event = take_event(place)
  accept_event(event)
  count_event(event)
  answers[place] = answer_to(event)
end
write_deliveries()
write_brakes()
write_breakers()
totals.deferred = nil -- a deferred event comes again
for name, total in pairs(totals) do
  hset(counters, name, string.format("%d", (tonumber(hget(counters, name)) or 0) + total))
end
write_changes()
return answers
