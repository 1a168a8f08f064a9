-- leaving: counts what leaves for the caps.
-- needs: sent now hset noted times_of is_long
-- gives: note_sent write_sent
local FIRST = {} -- the value where nothing else counts, by cap

local function note_sent(_, name, cap, raw)
  FIRST[cap] = FIRST[cap] or string.format('{"at":[%d],"z":%d}', math.floor(now / 1000), now + cap.per)
  local times = is_long(raw, cap) and times_of(raw, cap)
  if raw and not times then
    noted[name] = string.sub(raw, 1, string.find(raw, "]", 1, true) - 1) .. string.format(",%d],\"z\":%d}", now / 1000, now + cap.per)
  elseif not times or #times == 0 then
    noted[name] = FIRST[cap]
  else
    table.insert(times, math.floor(now / 1000))
    noted[name] = string.format('{"at":[%s],"z":%d}', table.concat(times, ","), now + cap.per)
  end
end

local function write_sent()
  for name, value in pairs(noted) do
    hset(sent, name, value)
  end
end
