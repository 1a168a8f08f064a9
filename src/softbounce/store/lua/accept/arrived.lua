-- arrived: takes one MESSAGE_DELIVERED. It ends what waits, lifts the recipient's pause and clears earlier evidence.
-- needs: schedule deliveries pauses members now hget hmget hdel zrem write_record remember notify standing_of
--        was_delivered note_delivery count_answer look_up seen_by mark_seen finish_record note_reached limits
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
  if pause and cjson.decode(pause).by == "policy" and not known.m then
    hdel(pauses, "recipient:" .. event.rid)
  end
end

-- Reads the record, and the record of the bare report of the same message, which named no recipient.
local function open_records(event)
  local id, bare_id = event.delivery, nil
  if not event.rids and not event.whole then
    bare_id = string.sub(id, 1, 12) .. "*" .. event.ch
  end
  local raws = hmget(deliveries, { id, bare_id })
  local record, payload, recipients = look_up(event, id, raws[1])
  if record then
    event.record, event.old_payload, event.old_recipients = record, payload, recipients
  end
  if bare_id then
    event.bare_id = bare_id
    event.bare_record, event.bare_payload, event.bare_recipients = look_up(event, bare_id, raws[2])
  end
end

local function is_repeat(event)
  local record = event.record
  return was_delivered(event.place) or (record and record.e == "delivered" and seen_by(event, record))
end

-- Ends what the bare report began; where it named several recipients, only for this one.
local function end_bare(event)
  local bare_id, bare = event.bare_id, event.bare_record
  if bare and bare.s ~= "ended" and bare.rs then
    note_reached(event, event.rid)
  elseif bare and bare.s ~= "ended" and event.bare_recipients == "[]" then
    bare.s, bare.e, bare.z = "ended", "delivered", now + limits.history
    zrem(schedule, bare_id)
    if bare.g then
      zrem(members, bare.g .. "\n\n" .. bare_id)
      bare.g = nil
    end
    write_record(bare_id, bare, event.bare_payload, "")
  end
end

local function end_for_recipients(event)
  if event.rids then -- it names several recipients: each of them has the message, all others still wait
    for _, rid in ipairs(event.rids) do
      note_reached(event, rid)
    end
  elseif event.whole then -- no recipient is named: every delivery of this message on this channel has ended
    note_reached(event, event.ch)
  else
    if event.reset then
      clear_count(event, math.min(event.at or now, now))
    end
    end_bare(event)
  end
end

-- Ends a delivery that had failed before, and tells that it recovered.
local function end_record(event)
  local id, record, old_state = event.delivery, event.record, event.record.s
  if old_state == "out" or old_state == "leased" then
    count_answer(record, event.old_payload, "+")
  end
  finish_record(event, "ended", "delivered")
  local is_to_come = old_state == "waiting" or old_state == "held" and record.j == 1
  local facts = { tries = is_to_come and record.a - 1 or record.a, after = now - record.f * 1000 }
  notify("recovered", id, "0", facts, event.old_payload, event.old_recipients ~= "" and event.old_recipients or event.recipients)
  remember(id, string.format('"k":"delivered","a":%d,"was":"%s","id":', record.a, old_state) .. cjson.encode(event.id) .. "}")
  mark_seen(event)
  write_record(id, record, event.old_payload, "")
end

local function accept_delivery(event)
  open_records(event)
  if event.is_newer then
    return
  elseif is_repeat(event) then
    event.outcome, event.first_outcome = "duplicate", "delivered"
    return
  end
  end_for_recipients(event)
  if event.record and event.record.e == "delivered" then
    event.outcome = "ended"
    return
  end
  event.outcome = "delivered"
  if event.record then
    end_record(event)
  else
    note_delivery(event.place)
  end
end
