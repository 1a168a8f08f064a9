-- failure: takes one MESSAGE_NOT_DELIVERED: which send it answers, its verdict, and what becomes of the delivery.
-- needs: suppressions cancels open_cases now hget hmget hset write_record remember is_standing is_active reaches tell_reuse was_delivered
--        count_answer mark_seen finish_record disproves end_contradicted suppress_recipient hold_for_incident end_suppressed
--        refusal hold give_up schedule_next judge_recipient escalate look_for_other_retrier limits LATE SILENT count
--        is_clock_right parse_payload
--        stamp fetch arrivals_in rid_of with_names is_consent pause_others resume_others
-- gives: mark_of note_reached accept_failure

-- Undoes the hold of the bare report, then judges the enriched report as if it had come first.
local function give_way(event)
  local record = event.record
  finish_record(event.delivery, event.record, "out", nil)
  event.old_payload, event.old_recipients = event.payload, event.recipients
  if record.a > 0 and record.j ~= 1 then
    event.state = "out"
  else
    record.a = math.max(0, record.a - 1) -- the try that waited is scheduled anew, under its number
    event.state = "new"
  end
end

local MOST_ARRIVALS = 10 -- that a mark lists, the newest first: of several messages under one reference

local function mark_of(event, whom)
  return "delivered:" .. string.sub(event.delivery, 1, 12) .. ":" .. whom
end

-- Marks of the whole channel, or of one recipient among several, are looked at before each resend.
local function note_reached(event, whom)
  local field = mark_of(event, whom)
  local old = hget(cancels, field)
  event.arrival = event.arrival or "[" .. cjson.encode(event.m) .. "," .. cjson.encode(event.cl) .. "," .. stamp .. "]"
  local arrivals = { event.arrival }
  for _, arrival in ipairs(old and arrivals_in(old) or {}) do
    if #arrivals < MOST_ARRIVALS and (arrival[1] ~= event.m or arrival[2] ~= event.cl) then
      arrivals[#arrivals + 1] = cjson.encode(arrival)
    end
  end
  hset(cancels, field, string.format('{"a":%d,"z":%d,"of":[%s]}', now, now + limits.history, table.concat(arrivals, ",")))
end

-- Notes the record, a new one for a first failure, and the delivery's state before this report.
local function open_record(event)
  local record = event.record
  event.state = record and record.s or "new"
  if event.replaces_bare and event.state == "held" and string.find(record.g, "^unclassified\n") then
    give_way(event)
  end
  if not record then
    event.record = { s = "new", a = 0, t = 0, f = math.floor(event.at / 1000) }
  end
end

-- Reports may give a message several deadlines; the nearest binds.
local function keep_own_deadline(event)
  local record = event.record
  record.y = math.min(record.y or math.huge, math.floor(event.not_after / 1000))
end

-- Whether the message was cancelled, or has arrived after all.
local function look_for_end(event)
  local id, record = event.delivery, event.record
  local reference = string.sub(id, 1, 12)
  local marks = hmget(cancels, {
    "reference:" .. reference, "claim:" .. event.cl, mark_of(event, event.ch),
    mark_of(event, rid_of(id)),
  })
  if is_standing(marks[1]) or is_standing(marks[2]) then
    event.is_cancelled = true
  end
  local ended_well = event.state == "ended" and record.e == "delivered"
  local is_marked = reaches(marks[3], event.m, event.cl, event.at, limits.reused)
    or reaches(marks[4], event.m, event.cl, event.at, limits.reused)
  local arrived = event.state == "new" and was_delivered(event.place) -- else the record says it
  event.is_reused = event.is_reused or arrived == "another" and not is_consent(event.code)
  if ended_well or is_marked or arrived == true then
    event.has_arrived = true
    event.counts = false -- a bounce after the arrival is recorded and not counted; a permanent verdict still counts
    event.is_disproved = disproves(event)
  end
end

local function reach_verdict(event)
  local confirmed, confirm = judge_recipient(event), event.rule.confirm
  event.verdict = event["do"]
  if event.verdict == "suppress" and confirm and not confirmed then
    event.verdict = confirm.meanwhile
  end
end

-- Whether it repeats a failure that is known: dated before the newest claim, as that one was, with the same code.
local function is_copy(event)
  local record = event.record
  local is_dated_so = event.src and event.at < record.c and math.floor(event.at / 1000) == (record.l or record.f)
  local fields = is_dated_so and parse_payload(event.old_payload)
  return fields and fields[8] == event.code
end

-- Whether it is of an earlier send for certain: its date says so, and is to be believed.
local function is_older(event)
  return event.src and event.at < event.record.c - LATE and is_clock_right(event)
end

-- Notes whether it answers the newest send, and so uses up a try.
local function find_answered_send(event)
  local record = event.record
  local is_silent = event.state == "ended" and SILENT[record.e]
  if event.state == "waiting" and event.answers == record.a then
    event.state = "leased" -- it did go out: its hand-over seemed to fail, or a failover lost its claim
  end
  if event.state == "leased" or event.state == "out" or is_silent then
    event.is_answer = event.answers == record.a or (not event.answers and not is_older(event) and not is_copy(event))
    event.is_repeated = not event.is_answer
    if is_silent and event.is_answer then
      finish_record(event.delivery, event.record, "out", nil)
      event.state = "out"
    end
  elseif event.state == "waiting" then
    event.is_repeated = true
  end
end

local function set_deadline(event)
  local record = event.record
  if event.state == "new" or event.is_answer then -- an answered send gets the newest rule's deadline; a waiting one keeps its own
    record.x = math.min(record.f + math.floor(event.rule.give_up / 1000), record.y or math.huge)
  elseif record.x and record.y then -- the message's own deadline binds a waiting one as well
    record.x = math.min(record.x, record.y)
  end
end

local function count_try(event)
  local record, kind = event.record, event.rule.kind
  if event.state == "leased" then -- the failure came before finish: the hand-over did happen, and finish will find it stale
    remember(event.delivery, string.format('"k":"resent","a":%d,"n":"its failure came before the confirmation"}', record.a))
    record.t = record.t + 1
  end
  if not event.bare then -- only an enriched report says whose fault it was
    record[kind] = (record[kind] or 0) + 1
    if kind == "p" then
      count_answer(record, event.old_payload, "-")
    end
  end
end

-- Suppresses, ends, holds or schedules. Sets the outcome and the record's new state.
local function follow_verdict(event)
  local record, state, verdict = event.record, event.state, event.verdict
  if verdict == "suppress" then
    if event.is_disproved then
      end_contradicted(event)
    elseif event.has_arrived then
      suppress_recipient(event)
      local outcome = record.e == "suppressed" and "suppressed" or "delivered"
      record.s, record.e, record.z = "ended", outcome, now + limits.history
      event.outcome = "suppressed"
    else
      end_suppressed(event, state == "waiting")
    end
  elseif state == "ended" then
    event.outcome = "ended"
  elseif event.is_cancelled or event.has_arrived then
    finish_record(event.delivery, event.record, "ended", event.has_arrived and "delivered" or "cancelled")
    event.outcome = event.has_arrived and "ended" or "cancelled"
  elseif state == "held" then
    event.outcome = "held"
    event.case = record.g and hget(open_cases, record.g) or ""
  elseif event.rid ~= "" and is_active(suppressions, event.rid, event.rid .. "@" .. event.m) then
    if not hold_for_incident(event, refusal(event), state == "waiting") then
      finish_record(event.delivery, event.record, "ended", "suppressed")
      event.outcome = "suppressed"
    end
  elseif verdict == "hold" then
    record.j = state == "waiting" and 1 or nil
    hold(event, event.hold or "held")
  elseif state == "waiting" then
    look_for_other_retrier(event)
    event.outcome = "coalesced"
    event.due = record.d * 1000
  elseif state ~= "new" and not event.is_answer then
    event.outcome = "superseded"
  elseif verdict == "drop" then
    give_up(event, "dropped", false)
  else
    schedule_next(event)
  end
end

local function note_date(event)
  local record, newest = event.record, math.floor(event.at / 1000)
  if newest > (record.l or record.f) then
    record.l = newest
  end
end

-- A recipient among several who has the message already gets no resend.
local function note_who_has_it(event)
  local reached, fields = {}, {}
  for n, rid in ipairs(event.rids) do
    if was_delivered(count + event.first + n - 1) == true then
      reached[#reached + 1], fields[#fields + 1] = rid, mark_of(event, rid)
    end
  end
  fetch(cancels, fields)
  for _, rid in ipairs(reached) do
    note_reached(event, rid)
  end
end

local function tell_history(event)
  local due, case = event.due, event.case
  local waits = due and string.format('"d":%d,', math.floor(due / 1000)) or ""
  local joins = case ~= "" and '"c":"' .. case .. '",' or ""
  local facts = '"k":"failed","o":"' .. event.outcome .. '","a":' .. event.record.a .. "," .. waits .. joins
  remember(event.delivery, facts .. (event.escalated and '"x":1,' or ""), event.said)
end

-- A report that changes nothing leaves the payload and the recipients of the resend as they are.
local function keep_record(event)
  local record, outcome = event.record, event.outcome
  local keeps_address = record.s == "waiting" or record.s == "held" or record.s == "leased"
  if outcome == "coalesced" or outcome == "superseded" or outcome == "ended" and event.old_payload
    or outcome == "held" and event.state == "held" then
    write_record(event.delivery, record, event.old_payload, keeps_address and event.old_recipients or "")
  else
    record.rs = keeps_address and event.rids or nil
    write_record(event.delivery, record, with_names(event), keeps_address and event.recipients or "")
  end
end

local function accept_failure(event)
  if event["do"] == "ignore" then
    event.outcome = "ignored"
    return
  end
  open_record(event)
  if event.not_after then
    keep_own_deadline(event)
  end
  look_for_end(event)
  find_answered_send(event)
  reach_verdict(event)
  set_deadline(event)
  if event.is_answer then
    count_try(event)
  end
  follow_verdict(event)
  if event.asks and event.outcome == "scheduled" then
    pause_others(event)
  elseif event.is_answer and event.rid ~= "" then
    resume_others(event.rid, event.delivery)
  end
  note_date(event)
  if event.escalated then
    escalate(event)
  end
  if event.is_reused and not event.record.h then -- its first report
    local case = tell_reuse(event, event.delivery)
    event.case = event.case ~= "" and event.case or case
  end
  if event.rids then
    note_who_has_it(event)
  end
  tell_history(event)
  mark_seen(event, event.record)
  keep_record(event)
end
