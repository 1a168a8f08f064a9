-- evidence: {key, time} pairs in order of time, at most 32. The window ends at the newest, so that any order of arrival
-- leaves the same list.
local function add_evidence(list, key, at, within)
  local found = false
  for _, item in ipairs(list) do
    if item[1] == key then
      item[2] = math.max(item[2], at)
      found = true
    end
  end
  if not found then
    list[#list + 1] = { key, at }
  end
  if #list == 1 then
    return
  end
  table.sort(list, function(a, b)
    return a[2] < b[2]
  end)
  local newest = list[#list][2]
  while #list > 32 or list[1][2] < newest - within do
    table.remove(list, 1)
  end
end

local function count_apart(list, apart)
  local count, last = 0, nil
  for _, item in ipairs(list) do
    if not last or item[2] - last >= apart then
      count = count + 1
      last = item[2]
    end
  end
  return count
end
