-- active: whether a field of a hash exists and has not ended. Needs: now.
local function is_active(hash, field)
  local entry = redis.call("HGET", hash, field)
  if not entry then
    return false
  end
  local ends = string.match(entry, '"z":(%d+)')
  return not ends or tonumber(ends) > now
end
