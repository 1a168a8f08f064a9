-- arrived: takes one MESSAGE_DELIVERED. It ends what waits, lifts the recipient's pause and clears earlier evidence.
-- needs: deliveries pauses cancels now hget hmget hdel write_record remember notify standing_of story_of deliveries_of parse_payload text
--        was_delivered note_delivery count_answer look_up seen_by mark_seen finish_record note_reached note_feedback
--        SILENT limits mark_of fetch resume_others find_message is_of_another tell_reuse reaches stays_suppressed
-- gives: accept_delivery

-- A delivery shows that the address works, so evidence dated before it is cleared. Evidence dated after it stays: the same delivery
-- reported again under another id clears nothing more.
local function after(list, at)
  local newer = {}
  for _, item in ipairs(list or {}) do
    if item[2] > at then
      table.insert(newer, item)
    end
  end
  return #newer > 0 and newer or nil
end

local function clear_count(event, at)
  local known = standing_of(event.rid)
  if known.z then
    known.m = after(known.m, at)
    for code, reports in pairs(known.c or {}) do
      known.c[code] = after(reports, at)
    end
    known.c = known.c and next(known.c) and known.c or nil
  end
  local pause = hget(pauses, "recipient:" .. event.rid)
  if pause and cjson.decode(pause).reason == "soft_bounces" and not known.m then
    hdel(pauses, "recipient:" .. event.rid)
  end
end

-- Returns the open deliveries of a message that a report without a recipient ends, besides the one in its name.
local function others_of(event)
  local reference, found = string.sub(event.delivery, 1, 12), {}
  for _, id in ipairs(deliveries_of(reference, table.concat(story_of(reference), "\n"))) do
    local raw = id ~= event.delivery and hget(deliveries, id)
    local has_it = raw and string.find(raw, '"e":"delivered"', 1, true) -- such a record need not be read
    local record, payload, recipients = look_up(event, id, not has_it and raw)
    local is_left = record and record.e ~= "suppressed" and record.e ~= "superseded"
    local fields = is_left and parse_payload(payload)
    if fields and fields[2] == event.ch and not is_of_another(event, payload) then
      found[#found + 1] = { id, record, payload, recipients }
    end
  end
  return found
end

-- Reads the record, and the record of the bare report of the same message, which named no recipient.
local function open_records(event)
  local id, bare_id = event.delivery, nil
  if not event.rids and not event.whole then
    bare_id = string.sub(id, 1, 12) .. "*" .. event.ch
  end
  local raws = hmget(deliveries, { id, bare_id })
  local record, payload, recipients = look_up(event, id, raws[1])
  if record and not event.answers and not seen_by(event, record) then
    event.delivery, record, payload, recipients = find_message(event, id, record, payload, recipients)
  end
  if record then
    event.record, event.old_payload, event.old_recipients = record, payload, recipients
  end
  if bare_id then
    local bare, bare_payload, bare_recipients = look_up(event, bare_id, raws[2])
    event.bare_id, event.bare_record, event.bare_payload, event.bare_recipients =
      find_message(event, bare_id, bare, bare_payload, bare_recipients)
  elseif event.whole then
    event.others = others_of(event)
  end
end

local function is_open(record)
  return record.s ~= "ended" or SILENT[record.e]
end

-- Returns the outcome that it had before, if any. An arrival without names may be told again: of another message, which waits.
local function look_for_repeat(event)
  local record = event.record
  if was_delivered(event.place) == true and not (record and is_open(record)) and not (event.others and event.others[1]) then
    return "delivered"
  end
  return record and (record.e == "delivered" or record.e == "suppressed") and seen_by(event, record)
end

-- Ends a delivery that had failed before, and tells that it recovered.
local function end_delivery(event, id, record, payload, recipients)
  local old_state = record.s
  if old_state == "out" or old_state == "leased" then
    count_answer(record, payload, "+")
  end
  local fields = parse_payload(payload)
  if fields then
    note_feedback(text(fields[4]), fields[2])
  end
  finish_record(id, record, "ended", "delivered")
  local is_to_come = old_state == "waiting" or old_state == "held" and record.j == 1
  local facts = { tries = is_to_come and record.a - 1 or record.a, after = now - record.f * 1000 }
  if not event.stays_suppressed then
    notify("recovered", id, "0", facts, payload, recipients ~= "" and recipients or event.recipients)
  end
  remember(id, string.format('"k":"delivered","a":%d,"was":"%s","id":', record.a, old_state) .. cjson.encode(event.id) .. "}")
  mark_seen(event, record)
  write_record(id, record, payload, "")
end

-- Whether each of several recipients has the message.
local function have_all(event, record)
  local fields = {}
  for n, rid in ipairs(record.rs) do
    fields[n] = mark_of(event, rid)
  end
  local fields_of, marks = parse_payload(event.bare_payload), hmget(cancels, fields)
  for n = 1, #fields do
    if not (fields_of and reaches(marks[n], text(fields_of[4]), text(fields_of[3]), record.f * 1000, limits.reused)) then
      return false
    end
  end
  return true
end

-- Ends what the bare report began; where it named several recipients, only for this one.
local function end_bare(event)
  local bare = event.bare_record
  if not bare or not is_open(bare) then
    return
  elseif bare.rs then
    note_reached(event, event.rid)
    if not have_all(event, bare) then
      return
    end
  elseif event.bare_recipients ~= "[]" then
    return
  end
  end_delivery(event, event.bare_id, bare, event.bare_payload, event.bare_recipients)
end

local function end_for_recipients(event)
  if event.rids then -- it names several recipients: each of them has the message, all others still wait
    local fields = {}
    for n, rid in ipairs(event.rids) do
      fields[n] = mark_of(event, rid)
    end
    fetch(cancels, fields)
    for _, rid in ipairs(event.rids) do
      note_reached(event, rid)
    end
  elseif event.whole then -- no recipient is named: every delivery of this message on this channel has ended
    note_reached(event, event.ch)
    for _, other in ipairs(event.others) do
      end_delivery(event, unpack(other))
    end
  else
    local at = math.min(event.at or now, now)
    resume_others(event.rid, nil, at)
    if event.reset then
      clear_count(event, at)
    end
    end_bare(event)
  end
end

-- It has arrived, and its recipient is refused all the same: nobody is told that it recovered.
local function keep_suppressed(event)
  local id, record = event.delivery, event.record
  event.outcome = "ended"
  if event.ch == "sms" and event.rid ~= "" then
    note_reached(event, event.rid) -- a later verdict on this text is disproved as well
  end
  local facts = string.format('"k":"delivered","a":%d,"n":"sends to its recipient stay refused","id":', record.a)
  remember(id, facts .. cjson.encode(event.id) .. "}")
  mark_seen(event, record)
  write_record(id, record, event.old_payload, event.old_recipients)
end

local function accept_delivery(event)
  open_records(event)
  if event.is_newer then
    return
  end
  event.first_outcome = look_for_repeat(event)
  if event.first_outcome then
    event.outcome = "duplicate"
    return
  end
  event.outcome = "delivered"
  if event.is_reused and not event.record then
    event.case = tell_reuse(event, event.other)
  end
  note_feedback(event.m, event.ch)
  event.stays_suppressed = event.record and stays_suppressed(event)
  end_for_recipients(event)
  if event.record and event.record.e == "delivered" then
    event.outcome = "ended"
  elseif event.stays_suppressed then
    keep_suppressed(event)
  elseif event.record then
    end_delivery(event, event.delivery, event.record, event.old_payload, event.old_recipients)
  else
    note_delivery(event.place)
  end
end
