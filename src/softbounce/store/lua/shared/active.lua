-- active: when an entry was made and when it ends, whether it is active now, and whether a hash has an active entry under some fields.
-- needs: now hmget
-- gives: NUMBER end_of made_at is_standing is_active agree reaches
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

local function agree(one, other) -- two names, of which one may not be known
  return one == "" or other == "" or one == other
end

-- Whether a mark says that a message has arrived which failed then (ms). It may name its merchant and claim. A failure later than
-- `within` ms after it is of another message.
local function reaches(mark, merchant, claim, failed, within)
  if not is_standing(mark) or failed - made_at(mark) > within then
    return false
  end
  local named = cjson.decode(mark)
  return agree(named.m or "", merchant) and agree(named.c or "", claim)
end

local function is_active(where, ...)
  for _, entry in ipairs(hmget(where, { ... })) do
    if is_standing(entry) then
      return true
    end
  end
  return false
end
