-- queue: due retries wait in one queue a merchant, by deadline; merchants take turns.
-- needs: schedule ready turns deliveries now hmget write_changes parse_record parse_payload set_aside NUMBER text mode_of
--        leave_to_newer
-- gives: SORTED line_up looked next_lines heads end_turns
local SORTED = 1000 -- deliveries that one call puts into the queues: some 5 ms

local LINED_UP = 100 -- deliveries read in one command
local MOST_BYTES = 1024 * 1024 -- of records that one call puts into the queues
local DEADLINE = '"x":' .. NUMBER

-- Returns the merchant and the deadline of a retry, nil where its record has none. It costs half of reading the whole record.
local function place_of(raw)
  local first = string.find(raw, "\n", 1, true)
  local second = string.find(raw, "\n", first + 1, true)
  local head = string.sub(raw, 1, first - 1)
  local deadline = tonumber(string.match(head, DEADLINE))
  local fields = deadline and parse_payload(string.sub(raw, first + 1, second - 1))
  if string.find(head, '"v":', 1, true) and not parse_record(raw) then
    return nil
  end
  return fields and text(fields[4]), deadline
end

-- Returns how many were due. SORTED means that more may be due that are in no queue yet.
local function line_up()
  local due = redis.call("ZRANGEBYSCORE", schedule, "-inf", now, "LIMIT", 0, SORTED)
  local places, starts, newcomers, gone, bytes, seen = {}, {}, {}, 0, 0, 0
  local first = redis.call("ZRANGE", turns, 0, 0, "WITHSCORES")[2] or "0"
  while seen < #due and bytes < MOST_BYTES do
    local ids = { unpack(due, seen + 1, math.min(seen + LINED_UP, #due)) }
    for n, raw in ipairs(hmget(deliveries, ids)) do
      local id, is_read, merchant, deadline = ids[n], nil, nil, nil
      if raw then
        is_read, merchant, deadline = pcall(place_of, raw)
        bytes = bytes + #raw
      end
      gone = gone + 1
      if is_read and merchant then
        places[#places + 1] = 0
        places[#places + 1] = merchant .. "\n" .. string.format("%010.0f", math.min(math.max(deadline, 0), 1e10 - 1)) .. "\n" .. id
        if not newcomers[merchant] then
          newcomers[merchant] = true
          starts[#starts + 1] = first
          starts[#starts + 1] = merchant
        end
      elseif raw and select(2, parse_record(raw)) == "newer" then
        leave_to_newer(id)
        gone = gone - 1
      elseif raw then
        set_aside(id, raw)
      end
    end
    seen = seen + #ids
  end
  if #places > 0 then
    redis.call("ZADD", ready, unpack(places))
    redis.call("ZADD", turns, "NX", unpack(starts))
  end
  if gone > 0 then
    redis.call("ZREMRANGEBYRANK", schedule, 0, gone - 1) -- the due ones are the first of the schedule
  end
  write_changes()
  return seen < #due and SORTED or #due
end

-- Returns the merchants whose turn is next, at most count, and how many were looked at. Merchants that are off pass their turn.
local looked = 0
local passed = {}
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

-- Takes the next of each queue: the first of each merchant, then the second of each, and so on. Returns their merchants, their
-- members of the ready list, and the deliveries.
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

-- Counts the turns that each merchant took. One that was off passed its turn, so that it has none to catch up later.
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
