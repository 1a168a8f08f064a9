-- active: whether an entry has not ended, and whether a hash has such a one under any of some fields. Needs: now.
local function is_standing(entry)
  local ends = entry and string.match(entry, '"z":(%d+)')
  return entry and (not ends or tonumber(ends) > now)
end

local function is_active(hash, ...)
  for _, entry in ipairs(redis.call("HMGET", hash, ...)) do
    if is_standing(entry) then
      return true
    end
  end
  return false
end
