-- evidence: lists of {key, time} pairs in order of time, at most 32. The window ends at the newest pair, so that reports leave the
-- same list in whatever order they arrive.
-- needs: standing before_writing hget hset
-- gives: standing_of add_evidence count_apart
local judged = {} -- recipient -> its counts, read and written once for all its reports of a batch

local function standing_of(rid)
  if not judged[rid] then
    local raw = hget(standing, rid)
    judged[rid] = raw and cjson.decode(raw) or {}
  end
  return judged[rid]
end

before_writing[#before_writing + 1] = function()
  for rid, known in pairs(judged) do
    if known.z then -- without `z` no report of it was ever counted
      hset(standing, rid, cjson.encode(known))
    end
  end
  judged = {}
end

local function add_evidence(list, key, at, within)
  for place = 1, #list do
    if list[place][1] == key then
      at = math.max(list[place][2], at)
      table.remove(list, place)
      break
    end
  end
  local place = #list
  while place > 0 and list[place][2] > at do
    place = place - 1
  end
  table.insert(list, place + 1, { key, at })
  local newest = list[#list][2]
  while #list > 32 or list[1][2] < newest - within do
    table.remove(list, 1)
  end
end

local function count_apart(list, apart)
  local count, last = 0, nil
  for n = 1, #list do
    local at = list[n][2]
    if not last or at - last >= apart then
      count, last = count + 1, at
    end
  end
  return count
end
