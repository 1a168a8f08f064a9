-- forget: erases one recipient's address wherever the caller has found it; the hash and the suppression stay, and later ones are hashed.
-- effects  suppressions lose the address, dead letters are deleted, records and notices lose the recipient. A retry to nobody else
--          ends; one to several goes on to the others. What has changed since the caller looked is left alone
-- returns  how many places lost an address
-- keys: schedule deliveries suppressions history notice_bodies dead_letters audit meta damaged members
--       cancels

local entry = cjson.decode(ARGV[1]) -- actor, action, what (the recipient's hash), reason
-- suppressions (fields), dead_letters and damaged (ids), deliveries and notices ({id, {recipients before, after, places kept}}), periods
local options = cjson.decode(ARGV[2])

-- include: shared/full_store
-- include: shared/clock
-- include: shared/changes
-- include: shared/record
-- include: shared/history

local erased = 0
for _, field in ipairs(options.suppressions) do
  local raw = hget(suppressions, field)
  if raw then
    local suppression = cjson.decode(raw)
    suppression.address = nil
    hset(suppressions, field, cjson.encode(suppression))
    erased = erased + 1
  end
end
for _, item in ipairs(options.deliveries) do
  local id, before, after, kept = item[1], item[2][1], item[2][2], item[2][3]
  local record, payload, recipients = read_record(id)
  if record and recipients == before then
    if #kept == 0 then
      zrem(schedule, id)
      record.s, record.e, record.z = "ended", "cancelled", now + options.history_period
      record.rs = nil
      remember(id, string.format('"k":"cancelled","a":%d,"n":"address erased"}', record.a))
    elseif record.rs then
      local left = {}
      for n, place in ipairs(kept) do
        left[n] = record.rs[place]
      end
      record.rs = left
    end
    write_record(id, record, payload, after)
    erased = erased + 1
  elseif payload == "damaged" then -- a damaged record cannot be shortened
    hdel(deliveries, id)
    zrem(schedule, id)
    forget_history(id)
    erased = erased + 1
  end
end
for _, item in ipairs(options.notices) do
  local id, before, after = item[1], item[2][1], item[2][2]
  local body = hget(notice_bodies, id)
  local head = body and string.match(body, "^(.*\n)[^\n]*$")
  if head and body == head .. before then
    hset(notice_bodies, id, head .. (after == "" and "[]" or after))
    erased = erased + 1
  end
end
for _, id in ipairs(options.dead_letters) do
  if hget(dead_letters, id) then
    hdel(dead_letters, id)
    erased = erased + 1
  end
end
for _, id in ipairs(options.damaged) do
  if hget(damaged, id) then
    hdel(damaged, id)
    zrem(members, "damaged_record\n\n\n\n" .. "\n\n" .. id)
    forget_history(id)
    erased = erased + 1
  end
end
hset(cancels, "forgotten:" .. string.sub(entry.what, 3), string.format('{"a":%d}', now)) -- what is suppressed later stays hashed
entry.at = now
xadd(audit, entry)
write_changes()
return erased
