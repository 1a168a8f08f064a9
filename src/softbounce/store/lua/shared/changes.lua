-- changes: collects what a script writes, and lets it read that back. Nothing reaches the store before write_changes(), so a script
-- that fails on its input has changed nothing, and its caller may try again with half of the input.
-- gives: written_last before_writing hget hmget fetch hset hdel zadd zrem xadd write_changes
local new_fields, new_keys = {}, {} -- hash -> field -> value, false where it is deleted; the hashes in the order of their first change
local read_ahead = {} -- hash -> field -> value, read in one command before hget asks
local written_last = "" -- the hash that is written last: its fields say that all else was written
local new_scores, new_zsets = {}, {} -- the same for sorted sets: member -> score
local new_entries = {} -- stream, entry
local before_writing = {} -- functions that add what is joined once for all changes
local ARGUMENTS = 4000 -- arguments of one command; Lua's stack holds 8,000

local function hget(key, field)
  local value = new_fields[key] and new_fields[key][field]
  if value == nil and read_ahead[key] then
    value = read_ahead[key][field]
  end
  if value == nil then
    return redis.call("HGET", key, field)
  end
  return value
end

local function hmget(key, fields)
  local values, known, place = {}, new_fields[key], 1
  while known and known[fields[place]] ~= nil do -- values of this script are not read again: a record may have 50 KB
    values[place], place = known[fields[place]], place + 1
  end
  if place > 1 and place > #fields then
    return values
  end
  if #fields <= ARGUMENTS then
    values = #fields > 0 and redis.call("HMGET", key, unpack(fields)) or values
  else
    for first = 1, #fields, ARGUMENTS do
      for n, value in ipairs(redis.call("HMGET", key, unpack(fields, first, math.min(first + ARGUMENTS - 1, #fields)))) do
        values[first + n - 1] = value
      end
    end
  end
  for n, field in ipairs(known and fields or {}) do
    if known[field] ~= nil then
      values[n] = known[field]
    end
  end
  return values
end

-- Reads at once what hget will be asked for.
local function fetch(key, fields)
  local values = hmget(key, fields)
  read_ahead[key] = read_ahead[key] or {}
  for n, field in ipairs(fields) do
    read_ahead[key][field] = values[n]
  end
end

local function hset(key, field, value)
  if not new_fields[key] then
    new_fields[key], new_keys[#new_keys + 1] = {}, key
  end
  new_fields[key][field] = value
end

local function hdel(key, field)
  hset(key, field, false)
end

local function zadd(zset, score, member)
  if not new_scores[zset] then
    new_scores[zset], new_zsets[#new_zsets + 1] = {}, zset
  end
  new_scores[zset][member] = score
end

local function zrem(zset, member)
  zadd(zset, false, member)
end

local function xadd(stream, fields)
  new_entries[#new_entries + 1] = { stream, cjson.encode(fields) }
end

local function in_parts(command, key, arguments)
  for first = 1, #arguments, ARGUMENTS do
    redis.call(command, key, unpack(arguments, first, math.min(first + ARGUMENTS - 1, #arguments)))
  end
end

local function write_hash(key)
  local pairs_, gone = {}, {}
  for field, value in pairs(new_fields[key]) do
    if value then
      pairs_[#pairs_ + 1], pairs_[#pairs_ + 2] = field, value
    else
      gone[#gone + 1] = field
    end
  end
  in_parts("HSET", key, pairs_)
  in_parts("HDEL", key, gone)
end

-- The order matters where a server stops in the middle. Schedules come first: a member without a record is dropped when it is due,
-- but a record without a member would be lost. Records come last, as they name the events that are done.
local function write_changes()
  for _, gather in ipairs(before_writing) do
    gather()
  end
  local leave = {}
  for _, new in ipairs(new_entries) do
    redis.call("XADD", new[1], "*", "entry", new[2])
  end
  for _, zset in ipairs(new_zsets) do
    local scores, gone = {}, {}
    for member, score in pairs(new_scores[zset]) do
      if score then
        scores[#scores + 1], scores[#scores + 2] = score, member
      else
        gone[#gone + 1] = member
      end
    end
    in_parts("ZADD", zset, scores)
    leave[zset] = gone
  end
  for _, key in ipairs(new_keys) do
    if key ~= written_last then
      write_hash(key)
    end
  end
  if new_fields[written_last] then
    write_hash(written_last)
  end
  for zset, gone in pairs(leave) do
    in_parts("ZREM", zset, gone)
  end
  new_fields, new_keys, read_ahead, new_scores, new_zsets, new_entries = {}, {}, {}, {}, {}, {}
end
