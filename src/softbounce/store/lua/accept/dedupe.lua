-- dedupe: `h` of a record lists the events that the delivery has seen, the newest first: half of the identity, and a letter for the
-- outcome, a capital for a bare report. It is written with the record, after all other effects.
-- needs: deliveries members now hget hmget zrem story_of write_record look_up find_message limits
-- gives: seen_by look_for_duplicate mark_seen
local LETTERS = {
  scheduled = "s", suppressed = "u", held = "h", given_up = "g", cancelled = "c", coalesced = "w", superseded = "p", ended = "e",
  delivered = "d",
}
local OUTCOMES = {}
for name, letter in pairs(LETTERS) do
  OUTCOMES[letter] = name
end
local MARK, MARKS = 10, 200 -- characters of one mark, and how many marks are kept
local ID, SEND = 4, 6 -- of them, those that tell the event's id, with two more the resend that it answers; then its code, and the outcome
local MOST_ALIKE = 10 -- lines of one eventId that are looked at

-- Returns the outcome that the event had before, and whether it was a bare report then. Notes whether another event had its eventId.
local function seen_by(event, record)
  local marks = record and record.h
  if not marks then
    return nil
  end
  local id, send, code = string.sub(event.i, 1, ID), string.sub(event.i, ID + 1, SEND), string.sub(event.i, SEND + 1, MARK - 1)
  local at = 0
  while true do
    at = string.find(marks, id, at + 1, true)
    if not at then
      return nil
    elseif (at - 1) % MARK == 0 then
      local letter = string.sub(marks, at + MARK - 1, at + MARK - 1)
      local outcome, is_bare = OUTCOMES[string.lower(letter)], letter ~= string.lower(letter)
      local is_any_code = event.bare or is_bare and event.y ~= "delivered"
      local is_one_send = string.sub(marks, at + ID, at + SEND - 1) == send
      if is_one_send and (is_any_code or string.sub(marks, at + SEND, at + MARK - 2) == code) then
        return outcome, is_bare
      end
      event.repeats_id = true
    end
  end
end

local indexed = {} -- reference -> how much of its history was looked at, and the recipients of each eventId

-- A bare report names no recipient. Its enriched form does, and may have come first: then a line of the history has its eventId.
local function seen_enriched(event)
  local reference = string.sub(event.delivery, 1, 12)
  local story, index = story_of(reference), indexed[reference] or { looked = 0, rids = {} }
  indexed[reference] = index
  for part = index.looked + 1, #story do
    for rid, name in string.gmatch(story[part], '"y":"([^"]*)"[^\n]-"id":("[^\n]-"),"at":') do
      index.rids[name] = index.rids[name] or {}
      table.insert(index.rids[name], rid)
    end
  end
  index.looked = #story
  local rids = index.rids[event.name or ""] or {}
  for n = 1, math.min(#rids, MOST_ALIKE) do
    local name = reference .. rids[n]
    local first = rids[n] ~= rids[n - 1] and seen_by(event, (look_up(event, name, hget(deliveries, name))))
    if first then
      return first
    end
  end
end

-- Reads the record, and notes the outcome that the event had before, if any; else whether it replaces its own bare report.
local function look_for_duplicate(event)
  local id = event.delivery
  local bare_id = string.sub(id, 1, 12) .. "*" .. event.ch
  local has_twin = bare_id ~= id
  local raws = hmget(deliveries, { id, has_twin and bare_id or nil })
  local record, payload, recipients = look_up(event, id, raws[1])
  local first, is_bare = seen_by(event, record)
  if record and not first and not event.answers then -- a resend's id names its message, whatever else is named
    event.delivery, record, payload, recipients = find_message(event, id, record, payload, recipients)
    if event.is_reused then
      first, is_bare = seen_by(event, record)
    end
  end
  if record then
    event.record, event.old_payload, event.old_recipients = record, payload, recipients
  end
  if not first and event.bare then
    first = seen_enriched(event)
  end
  if first and (event.bare or not is_bare) then
    event.first_outcome = first
    return
  end
  if is_bare then
    event.replaces_bare = true
  end
  local twin, twin_payload
  if has_twin then
    twin, twin_payload = look_up(event, bare_id, raws[2])
  end
  if not event.is_newer and seen_by(event, twin) then
    event.replaces_bare = true
    if twin.s == "held" then
      zrem(members, twin.g .. "\n\n" .. bare_id)
      twin.s, twin.e, twin.z, twin.g = "ended", "superseded", now + limits.history, nil
      write_record(bare_id, twin, twin_payload, "")
    end
  end
end

local function mark_seen(event, record)
  local letter = LETTERS[event.outcome]
  record.h = string.sub(event.i, 1, MARK - 1) .. (event.bare and string.upper(letter) or letter)
    .. string.sub(record.h or "", 1, MARK * (MARKS - 1))
end
