-- active: when an entry was made and when it ends, whether it is active now, and whether a hash has an active entry under some fields.
-- needs: now hmget agree
-- gives: NUMBER end_of made_at is_standing is_active arrivals_in reaches
local NUMBER = "(%-?%d[%d.eE+-]*)" -- a number as JSON writes it, with or without a sign
local ENDS, MADE = '"z":' .. NUMBER, '"a":' .. NUMBER

local function end_of(entry)
  return tonumber(string.match(entry, ENDS))
end

local function made_at(entry)
  return tonumber(string.match(entry, MADE))
end

local function is_standing(entry)
  local ends = entry and end_of(entry)
  return entry and (not ends or ends > now)
end

-- Returns what a mark lists: the merchant and claim of each arrival of a message, and when it was (ms).
local function arrivals_in(mark)
  local found = {}
  local is_json, entry = pcall(cjson.decode, is_standing(mark) and mark or "{}")
  for _, arrival in ipairs(is_json and type(entry) == "table" and type(entry.of) == "table" and entry.of or {}) do
    if type(arrival) == "table" and type(arrival[3]) == "number" then
      found[#found + 1] = { tostring(arrival[1]), tostring(arrival[2]), arrival[3] }
    end
  end
  return found
end

-- Whether a mark says that a message has arrived which failed then (ms). A failure later than `within` ms after it is of another message.
local function reaches(mark, merchant, claim, failed, within)
  for _, arrival in ipairs(mark and arrivals_in(mark) or {}) do
    if failed - arrival[3] <= within and agree(arrival[1], merchant) and agree(arrival[2], claim) then
      return true
    end
  end
  return false
end

local function is_active(where, ...)
  for _, entry in ipairs(hmget(where, { ... })) do
    if is_standing(entry) then
      return true
    end
  end
  return false
end
