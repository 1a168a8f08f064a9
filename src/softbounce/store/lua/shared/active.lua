-- active: when an entry was made and when it ends, whether it is active now, and whether a hash has an active entry under some fields.
-- needs: now hmget
-- gives: NUMBER end_of made_at is_standing is_active
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

local function is_active(where, ...)
  for _, entry in ipairs(hmget(where, { ... })) do
    if is_standing(entry) then
      return true
    end
  end
  return false
end
