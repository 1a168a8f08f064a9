-- delivered: what arrived and never failed, so that a late or repeated failure of it starts nothing. Needs: delivered, meta,
-- delivered_before, probes, changes.
-- A record of its own would take 170 bytes; this takes six, in a bucket chosen by the other three. A set of buckets that is full stays as
-- it is, and one four times as large opens beside it. Sweep turns the two generations over.
-- Six bytes are wrongly found among the some 1,000 that share their buckets once in 280 billion failures.
local FILL, SMALLEST, LARGEST = 128, 8, 24 -- entries of a bucket when its set is full; bits that choose a bucket
local PROBE, CHOOSE = 9, 3 -- bytes of a probe, those that choose

local function bits_for(count)
  local bits = SMALLEST
  while bits < LARGEST and count >= FILL * 2 ^ bits do
    bits = bits + 2
  end
  return bits
end

local function bucket(n, bits) -- its field: set, number
  local first, second, third = string.byte(probes, (n - 1) * PROBE + 1, (n - 1) * PROBE + CHOOSE)
  return string.format("%d:%d", bits, math.floor((first * 65536 + second * 256 + third) / 2 ^ (LARGEST - bits)))
end

local function entry_of(n)
  return string.sub(probes, (n - 1) * PROBE + CHOOSE + 1, n * PROBE)
end

local function holds(entries, entry)
  local at = 0
  repeat
    at = string.find(entries, entry, at + 1, true)
  until not at or (at - 1) % (PROBE - CHOOSE) == 0
  return at ~= nil
end

local counts = redis.call("HMGET", meta, "delivered", "delivered_before")
local open_bits = bits_for(tonumber(counts[1]) or 0) -- the set that takes new entries
local hits, buckets, grown, added = {}, {}, {}, 0 -- events found; what a bucket of the open set holds; its fields to be written

-- For the whole batch at once: one read for each set of buckets.
local function look_for_deliveries()
  for generation, hash in ipairs({ delivered, delivered_before }) do
    local total = tonumber(counts[generation]) or 0
    for bits = SMALLEST, total > 0 and bits_for(total) or 0, 2 do
      local fields = {}
      for n = 1, #probes / PROBE do
        fields[n] = bucket(n, bits)
      end
      for n, entries in ipairs(hmget(hash, fields)) do
        hits[n] = hits[n] or entries and holds(entries, entry_of(n))
        if entries and generation == 1 and bits == open_bits then
          buckets[fields[n]] = entries
        end
      end
    end
  end
end

local function was_delivered(n)
  if not hits[n] and added > 0 then -- earlier in this batch
    local field = bucket(n, open_bits)
    hits[n] = grown[field] and holds(buckets[field], entry_of(n))
  end
  return hits[n]
end

local function note_delivery(n)
  local field = bucket(n, open_bits)
  buckets[field] = (buckets[field] or "") .. entry_of(n)
  grown[field] = true
  added = added + 1
end

local function write_deliveries()
  for field in pairs(grown) do
    hset(delivered, field, buckets[field])
  end
  if added > 0 then
    hset(meta, "delivered", string.format("%d", (tonumber(counts[1]) or 0) + added))
  end
end
