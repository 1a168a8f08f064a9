-- active: when an entry was made and when it ends, whether it is active now, and whether a hash has an active entry under some fields.
-- needs: now hmget agree
-- gives: NUMBER end_of made_at is_standing is_active reaches
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

-- Whether a mark says that a message has arrived which failed then (ms). It lists the merchant and claim of each arrival, and when it
-- was (ms). A failure later than `within` ms after it is of another message.
local function reaches(mark, merchant, claim, failed, within)
  local is_json, found = pcall(cjson.decode, is_standing(mark) and mark or "")
  for _, arrival in ipairs(is_json and type(found) == "table" and type(found.of) == "table" and found.of or {}) do
    if type(arrival) == "table" and type(arrival[3]) == "number" and failed - arrival[3] <= within
      and agree(tostring(arrival[1]), merchant) and agree(tostring(arrival[2]), claim) then
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
