-- letter_bytes: what the entries of all dead letters take together, so that a flood of large ones stays bounded. Needs: meta.
local function add_letter_bytes(count)
  if redis.call("HINCRBY", meta, "dead_letter_bytes", string.format("%d", count)) < 0 then
    redis.call("HSET", meta, "dead_letter_bytes", 0) -- letters of a release that did not count
  end
end
