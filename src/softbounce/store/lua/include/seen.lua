-- seen: which events a delivery has had, newest first, in `h` of its record: half of the identity and a letter for the outcome, a
-- capital for a bare report. Written with the record, after all other effects. Needs: history, changes, look_up, the
-- event in hand.
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

-- A bare report names nobody; its enriched form, which does, may have come before it: a line of the history then has its eventId.
local function seen_enriched()
  local reference = string.sub(id, 1, 12)
  local lines, at = event.name and lines_of(reference), 0
  for _ = 1, lines and MOST_ALIKE or 0 do
    at = string.find(lines, '"id":' .. event.name .. ",", at + 1, true)
    local rid = at and string.match(string.sub(lines, 1, at), '^.*"y":"([^"]*)"')
    local first = rid and seen_by((look_up(reference .. rid)))
    if first or not at then
      return first
    end
  end
end

local function mark_seen()
  local letter = LETTERS[outcome]
  record.h = string.sub(event.i, 1, MARK - 1) .. (event.bare and string.upper(letter) or letter)
    .. string.sub(record.h or "", 1, MARK * (MARKS - 1))
end
