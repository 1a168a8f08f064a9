-- failure: one MESSAGE_NOT_DELIVERED. Which send it answers, what its verdict is, and what becomes of the delivery.
-- needs: suppressions cancels open_cases now hget hmget hset write_record remember is_standing is_active was_delivered
--        count_answer mark_seen finish_record suppress_recipient hold_for_incident end_suppressed refusal hold give_up
--        schedule_next judge_recipient escalate look_for_other_retrier limits LATE count place event rule payload to said id
--        record old_payload old_recipients outcome case escalated due
-- gives: note_reached accept_failure

-- The bare report held the delivery; its enriched form finds the delivery as that had found it. Returns the state.
local function give_way()
  finish_record("out", nil)
  old_payload, old_recipients = payload, to
  if record.a > 0 and record.j ~= 1 then
    return "out"
  end
  record.a = math.max(0, record.a - 1) -- the try that waited is scheduled anew, under its number
  return "new"
end

-- What is said of the whole channel, or of one of several, is looked at before each resend.
local function note_reached(whom)
  local field = "delivered:" .. string.sub(id, 1, 12) .. ":" .. whom
  hset(cancels, field, string.format('{"a":%d,"z":%d}', now, now + limits.history))
end

local function accept_failure(may_replace)
  local state = record and record.s or "new"
  if event["do"] == "ignore" then
    outcome = "ignored"
    return
  end
  if may_replace and state == "held" and string.find(record.g, "^unclassified\n") then
    state = give_way()
  end
  if not record then
    local seconds = math.floor(event.at / 1000)
    record = { s = "new", a = 0, t = 0, f = seconds }
  end
  if event.not_after then
    record.y = math.min(record.y or math.huge, math.floor(event.not_after / 1000))
  end
  local ended_well = state == "ended" and record.e == "delivered"
  local reference = string.sub(id, 1, 12)
  local marks = hmget(cancels, {
    "reference:" .. reference, "claim:" .. event.cl, "delivered:" .. reference .. ":" .. event.ch,
    "delivered:" .. reference .. ":" .. string.sub(id, 13),
  })
  local cancelled = is_standing(marks[1]) or is_standing(marks[2])
  local arrived = is_standing(marks[3]) or is_standing(marks[4]) or was_delivered(place)
  if ended_well or arrived then -- a bounce after the delivery is recorded, not counted; a permanent verdict still speaks of the recipient
    event.counts = false
  end
  local confirmed = judge_recipient()
  local verdict = event["do"]
  if verdict == "suppress" and rule.confirm and not confirmed then
    verdict = rule.confirm.meanwhile
  end
  local newest = math.floor(event.at / 1000)
  local is_answer = false
  if state == "waiting" and event.answers == record.a then
    state = "leased" -- it went out: its hand-over seemed to fail, or a failover took back its claim
  end
  if state == "leased" or state == "out" then
    is_answer = event.answers == record.a or (not event.answers and event.at >= record.c - LATE)
  end
  if state == "new" or is_answer then -- the newest rule sets the deadline; what waits keeps the one it got
    record.x = math.min(record.f + math.floor(rule.give_up / 1000), record.y or math.huge)
  elseif record.x and record.y then -- the message's own deadline binds what waits, too
    record.x = math.min(record.x, record.y)
  end
  if is_answer then
    if state == "leased" then -- the failure outran finish: the hand-over did happen, and its late finish is stale
      remember(id, string.format('"k":"resent","a":%d,"n":"its failure came before the confirmation"}', record.a))
      record.t = record.t + 1
    end
    if not event.bare then -- its enriched form says whose fault it was
      record[rule.kind] = (record[rule.kind] or 0) + 1
      if rule.kind == "p" then
        count_answer(record, old_payload, "-")
      end
    end
  end

  if verdict == "suppress" then
    if ended_well or arrived then
      suppress_recipient()
      record.s, record.e, record.z = "ended", "delivered", now + limits.history
      outcome = "suppressed"
    else
      end_suppressed(state == "waiting")
    end
  elseif state == "ended" then
    outcome = "ended"
  elseif cancelled or arrived then
    finish_record("ended", arrived and "delivered" or "cancelled")
    outcome = arrived and "ended" or "cancelled"
  elseif state == "held" then
    outcome = "held"
    case = record.g and hget(open_cases, record.g) or ""
  elseif event.rid ~= "" and is_active(suppressions, event.rid, event.rid .. "@" .. event.m) then
    if not hold_for_incident(refusal(), state == "waiting") then
      finish_record("ended", "suppressed")
      outcome = "suppressed"
    end
  elseif verdict == "hold" then
    record.j = state == "waiting" and 1 or nil
    hold(event.hold or "held")
  elseif state == "waiting" then
    look_for_other_retrier()
    outcome = "coalesced"
    due = record.d * 1000
  elseif state ~= "new" and not is_answer then
    outcome = "superseded"
  elseif verdict == "drop" then
    give_up("dropped", false)
  else
    schedule_next()
  end
  if newest > (record.l or record.f) then
    record.l = newest
  end
  if escalated then
    escalate()
  end
  for n, rid in ipairs(event.rids or {}) do
    if was_delivered(count + event.first + n - 1) then -- it has the message already
      note_reached(rid)
    end
  end
  local waits = due and string.format('"d":%d,', math.floor(due / 1000)) or ""
  local joins = case ~= "" and '"c":"' .. case .. '",' or ""
  remember(id, '"k":"failed","o":"' .. outcome .. '","a":' .. record.a .. "," .. waits .. joins .. (escalated and '"x":1,' or ""), said)
  mark_seen()
  local keeps_address = record.s == "waiting" or record.s == "held" or record.s == "leased"
  if outcome == "coalesced" or outcome == "superseded" or outcome == "ended" and old_payload or outcome == "held" and state == "held" then
    write_record(id, record, old_payload, keeps_address and old_recipients or "")
  else
    record.rs = keeps_address and event.rids or nil
    write_record(id, record, payload, keeps_address and to or "")
  end
end
