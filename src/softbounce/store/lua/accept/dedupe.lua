-- dedupe: which events a delivery has had, newest first, in `h` of its record: half of the identity and a letter for the outcome, a
-- capital for a bare report. Written with the record, after all other effects.
-- needs: story_of event id record outcome look_up
-- gives: seen_by seen_enriched mark_seen
local LETTERS = {
  scheduled = "s", suppressed = "u", held = "h", given_up = "g", cancelled = "c", coalesced = "w", superseded = "p", ended = "e",
  delivered = "d",
}
local OUTCOMES = {}
for name, letter in pairs(LETTERS) do
  OUTCOMES[letter] = name
end
local MARK, MARKS = 9, 200 -- characters of one, and how many are kept
local MOST_ALIKE = 10 -- lines of one eventId that are looked at

-- Returns the outcome that the event had, and whether it was a bare report's.
local function seen_by(one)
  local marks, mark, at = one and one.h, string.sub(event.i, 1, MARK - 1), 0
  if not marks then
    return nil
  end
  repeat
    at = string.find(marks, mark, at + 1, true)
  until not at or (at - 1) % MARK == 0
  if at then
    local letter = string.sub(marks, at + MARK - 1, at + MARK - 1)
    return OUTCOMES[string.lower(letter)], letter ~= string.lower(letter)
  end
end

local indexed = {} -- reference -> how much of its history was looked at, and the recipients of each eventId

-- A bare report names nobody; its enriched form, which does, may have come before it: a line of the history then has its eventId.
local function seen_enriched()
  local reference = string.sub(id, 1, 12)
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
    local first = rids[n] ~= rids[n - 1] and seen_by((look_up(reference .. rids[n])))
    if first then
      return first
    end
  end
end

local function mark_seen()
  local letter = LETTERS[outcome]
  record.h = string.sub(event.i, 1, MARK - 1) .. (event.bare and string.upper(letter) or letter)
    .. string.sub(record.h or "", 1, MARK * (MARKS - 1))
end
