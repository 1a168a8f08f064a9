-- notices_finish: deletes notices and groups that were told; a notice for people as well joins its group in the same step.
-- effects  a group waits for more after its first notice, and for the repeat once it was told; a repeated call changes nothing
-- returns  how many notices and groups were told
-- keys: notices notice_bodies groups group_turns meta

local options = cjson.decode(ARGV[1]) -- done (notices), joined ({notice, group, sample}), told ({group, at}), wait, repeat (ms)
local SAMPLES = 5

-- include: shared/full_store
-- include: shared/clock

local grown = {} -- each group is written once: 500 notices in one group took 15 ms
for _, joined in ipairs(options.joined) do
  local notice, name, sample = joined[1], joined[2], joined[3]
  if redis.call("HEXISTS", notice_bodies, notice) == 1 then -- otherwise another call has counted it
    local raw = not grown[name] and redis.call("HGET", groups, name)
    local group = grown[name] or raw and cjson.decode(raw) or { n = 0, samples = {} }
    group.n, group.since = group.n + 1, group.since or now
    if #group.samples < SAMPLES then
      table.insert(group.samples, sample)
    end
    grown[name] = group
  end
end
for name, group in pairs(grown) do
  redis.call("HSET", groups, name, cjson.encode(group))
  redis.call("ZADD", group_turns, "NX", now + options.wait, name)
end
for _, told in ipairs(options.told) do
  local raw = redis.call("HGET", groups, told[1])
  local group = raw and cjson.decode(raw)
  if group and group.out and group.out.at == told[2] then -- otherwise its lease has ended, and it was told again
    group.out = nil
    redis.call("HSET", groups, told[1], cjson.encode(group))
    redis.call("ZADD", group_turns, now + options["repeat"], told[1])
  end
end
if #options.done > 0 then
  redis.call("ZREM", notices, unpack(options.done))
  redis.call("HDEL", notice_bodies, unpack(options.done))
end
return #options.done + #options.told
