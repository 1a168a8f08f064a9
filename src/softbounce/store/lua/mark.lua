-- mark: writes or deletes fields of one hash for a person, with the audit entry; all of it or nothing.
-- effects  a field given "" is deleted. Cancels, pauses, modes, suppressions and acknowledged cases are such fields
-- returns  the values before, "" for none, "listed" where keep_existing left an active entry
-- keys: hash audit meta

-- actor, action, what, reason, keep_existing (field -> code: an active entry of that code, "" for any, stays); then field, value pairs
local entry = cjson.decode(ARGV[1])
local keep_existing = entry.keep_existing or {}
entry.keep_existing = nil

-- include: shared/full_store
-- include: shared/clock

local function without_address(text) -- the audit is kept after `recipients forget`
  local value = string.find(text, '"address"', 1, true) and cjson.decode(text)
  if type(value) ~= "table" then
    return text
  end
  value.address = nil
  return cjson.encode(value)
end

local function is_left(old, code)
  local ends = tonumber(string.match(old, '"z":(%d+)'))
  return (not ends or ends > now) and (code == "" or string.find(old, '"code":"' .. code .. '"', 1, true))
end

local before = {}
for n = 2, #ARGV, 2 do
  local old, code = redis.call("HGET", hash, ARGV[n]), keep_existing[ARGV[n]]
  table.insert(before, old or "")
  if code and old and is_left(old, code) then
    before[#before] = "listed"
  elseif ARGV[n + 1] == "" then
    redis.call("HDEL", hash, ARGV[n])
  else
    redis.call("HSET", hash, ARGV[n], ARGV[n + 1])
  end
end
entry.at = now
if #before == 1 then
  entry.before, entry.after = without_address(before[1]), without_address(ARGV[3])
end
redis.call("XADD", audit, "*", "entry", cjson.encode(entry))
return before
