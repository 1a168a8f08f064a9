-- line: what is due stands in line, by merchant and deadline; merchants take turns. Needs: schedule, ready, turns, deliveries, modes,
-- now, record, gates.
local SORTED = 1000 -- deliveries that get their place in one call: some 5 ms

-- Returns how many were due; as many as SORTED means that more may be, whose place in line is not known yet.
local function line_up()
  local due = redis.call("ZRANGEBYSCORE", schedule, "-inf", now, "LIMIT", 0, SORTED)
  if #due == 0 then
    return 0
  end
  local places, starts, newcomers, gone = {}, {}, {}, #due
  local first = redis.call("ZRANGE", turns, 0, 0, "WITHSCORES")[2] or "0"
  for n, raw in ipairs(redis.call("HMGET", deliveries, unpack(due))) do
    local id = due[n]
    local head, payload = string.match(raw or "", "^([^\n]*)\n([^\n]*)\n")
    if head and string.find(head, '"v":', 1, true) and cjson.decode(head).v > 1 then
      leave_to_newer(id)
      gone = gone - 1
    elseif head then
      local merchant, deadline = text(cjson.decode(payload)[4]), string.match(head, '"x":(%d+)')
      places[#places + 1] = 0
      places[#places + 1] = merchant .. "\n" .. string.rep("0", 10 - #deadline) .. deadline .. "\n" .. id
      if not newcomers[merchant] then
        newcomers[merchant] = true
        starts[#starts + 1] = first
        starts[#starts + 1] = merchant
      end
    end
  end
  if #places > 0 then
    redis.call("ZADD", ready, unpack(places))
    redis.call("ZADD", turns, "NX", unpack(starts))
  end
  if gone > 0 then
    redis.call("ZREMRANGEBYRANK", schedule, 0, gone - 1) -- the first of the schedule are those that were due
  end
  return #due
end

-- Merchants whose turn is next, at most count, and how many were looked at. Those that are off let their turn pass.
local looked, passed = 0, {}
local function next_lines(count)
  local page = redis.call("ZRANGE", turns, looked, looked + count - 1, "WITHSCORES")
  local lines = {}
  for n = 1, #page, 2 do
    local line = { merchant = page[n], turn = tonumber(page[n + 1]), taken = 0 }
    table.insert(mode_of(line.merchant) == "off" and passed or lines, line)
  end
  looked = looked + #page / 2
  return lines, #page / 2
end

-- The next of each line: first the first of each merchant, then the second of each, and so on. Returns whose they are, what stands
-- in line, the deliveries.
local function heads(lines, share)
  for _, line in ipairs(lines) do
    local name = line.merchant .. "\n"
    line.found = redis.call("ZRANGEBYLEX", ready, "[" .. name, "[" .. name .. "\255", "LIMIT", 0, share)
    line.left = #line.found
  end
  local owners, places, ids, count = {}, {}, {}, 0
  for nth = 1, share do
    for _, line in ipairs(lines) do
      local place = line.found[nth]
      if place then
        count = count + 1
        owners[count], places[count] = line, place
        ids[count] = string.sub(place, string.find(place, "\n", #line.merchant + 2, true) + 1)
      end
    end
  end
  return owners, places, ids
end

-- Each merchant has had as many turns as it took; one that is off has let its own pass, and needs not catch up later.
local function end_turns(served)
  local changed, lowest = {}, nil
  for _, line in ipairs(served) do
    line.turn = line.turn + line.taken
    if line.is_empty then
      redis.call("ZREM", turns, line.merchant)
    else
      lowest = math.min(lowest or line.turn, line.turn)
      changed[#changed + 1] = line
    end
  end
  for _, line in ipairs(passed) do
    line.turn = math.max(line.turn + 1, lowest or 0)
    changed[#changed + 1] = line
  end
  for _, line in ipairs(changed) do
    redis.call("ZADD", turns, line.turn, line.merchant)
  end
end
