-- letter_bytes: counts the bytes of all dead letters, so that a flood of large ones stays bounded.
-- needs: meta hget hset
-- gives: add_letter_bytes
local function add_letter_bytes(count)
  local total = (tonumber(hget(meta, "dead_letter_bytes")) or 0) + count
  hset(meta, "dead_letter_bytes", string.format("%d", math.max(0, total))) -- less than 0: an older release did not count its letters
end
