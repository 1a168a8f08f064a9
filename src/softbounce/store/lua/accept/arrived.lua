-- arrived: one MESSAGE_DELIVERED. Ends what waits, lifts the pause, clears the count of what came before.
-- needs: schedule pauses members now hget hdel zrem write_record remember notify standing_of was_delivered note_delivery
--        count_answer seen_by mark_seen finish_record note_reached limits place event to id record old_payload old_recipients
--        outcome is_newer look_up
-- gives: accept_delivery

-- An address that was reached is not dead, whatever was reported before. What is dated after the delivery still counts: a report of
-- it that comes again, under whatever id, clears nothing more.
local function after(list, at)
  local newer = {}
  for _, item in ipairs(list or {}) do
    if item[2] > at then
      table.insert(newer, item)
    end
  end
  return #newer > 0 and newer or nil
end

local function clear_count(at)
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

local function accept_delivery()
  record, old_payload, old_recipients = look_up(id)
  local bare_id, bare, bare_payload, bare_recipients = string.sub(id, 1, 12) .. "*" .. event.ch, nil, nil, nil
  if not event.rids and not event.whole then -- a bare report names nobody: its delivery is this one
    bare, bare_payload, bare_recipients = look_up(bare_id)
  end
  if is_newer then
    return
  elseif was_delivered(place) or (record and record.e == "delivered" and seen_by(record)) then
    outcome = "duplicate"
    return
  end
  if event.rids then -- several are named: each has it, whoever else waits has not
    for _, rid in ipairs(event.rids) do
      note_reached(rid)
    end
  elseif event.whole then -- no recipient is named: every delivery of this message on this channel has ended
    note_reached(event.ch)
  else
    if event.reset then
      clear_count(math.min(event.at or now, now))
    end
    if bare and bare.s ~= "ended" and bare.rs then
      note_reached(event.rid)
    elseif bare and bare.s ~= "ended" and bare_recipients == "[]" then
      bare.s, bare.e, bare.z = "ended", "delivered", now + limits.history
      zrem(schedule, bare_id)
      if bare.g then
        zrem(members, bare.g .. "\n\n" .. bare_id)
        bare.g = nil
      end
      write_record(bare_id, bare, bare_payload, "")
    end
  end
  if record and record.e == "delivered" then
    outcome = "ended"
    return
  end
  outcome = "delivered"
  if not record then
    note_delivery(place)
    return
  end
  local old_state = record.s
  if old_state == "out" or old_state == "leased" then
    count_answer(record, old_payload, "+")
  end
  finish_record("ended", "delivered")
  local is_to_come = old_state == "waiting" or old_state == "held" and record.j == 1
  local tries = is_to_come and record.a - 1 or record.a
  notify("recovered", id, "0", { tries = tries, after = now - record.f * 1000 }, old_payload, old_recipients ~= "" and old_recipients or to)
  remember(id, string.format('"k":"delivered","a":%d,"was":"%s","id":', record.a, old_state) .. cjson.encode(event.id) .. "}")
  mark_seen()
  write_record(id, record, old_payload, "")
end
