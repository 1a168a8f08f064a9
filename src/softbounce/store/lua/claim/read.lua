-- read: the retries that are due. What is none any more, or cannot be read, leaves the schedule.
-- needs: schedule deliveries now hmget zrem parse_record set_aside retry_of read_gates mode_entry
-- gives: WORK work mode_of leave_to_newer read_retries
local WORK = 500 -- of one call, in ordinary retries: a longer record, or one to several, counts for more
local ORDINARY = 1000 -- bytes of a record that are the work of one retry
local EACH = 5 -- recipients of one retry that are the work of another
local work = 0 -- done so far

local function mode_of(merchant)
  return mode_entry(merchant).entry.mode
end

local function leave_to_newer(id) -- a newer release wrote it; that release takes it
  redis.call("ZADD", schedule, now + 60000, id)
end

-- Returns a retry that is due, with its record and the values of its payload; false where nothing waits under this name any more.
local function read_retry(id, raw)
  local record, payload, recipients = parse_record(raw)
  if payload == "newer" then
    leave_to_newer(id)
    return false
  elseif record and record.s ~= "waiting" and record.s ~= "leased" or not raw then
    zrem(schedule, id)
    return false
  end
  work = work + math.max(1, #raw / ORDINARY, record and record.rs and #record.rs / EACH or 0)
  local retry = record and retry_of(id, record, payload, recipients)
  if not retry then
    set_aside(id, raw)
  end
  return retry or false
end

-- Returns each retry with its record and what stands against it, and false where there is none any more; moved: and where it was
-- scheduled anew while it stood in line, or stands there twice: under another deadline since. Fewer than there are ids, where they
-- are the work of one call.
local function read_retries(ids, moved)
  local retries, seen, is_read = {}, 0, {}
  for n, raw in ipairs(hmget(deliveries, ids)) do
    local id = ids[n]
    if seen > 0 and work >= WORK then
      break
    end
    retries[n] = not (moved and moved[n]) and not is_read[id] and read_retry(id, raw)
    seen, is_read[id] = n, true
  end
  read_gates(retries)
  return retries
end
