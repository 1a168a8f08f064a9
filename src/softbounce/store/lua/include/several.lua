-- several: whom of several recipients a resend may still go to. Needs: deliveries, suppressions, cancels, active, record.
-- Returns the recipients that are left, and where nobody is those that were, and how the retry ends.
local function still_wanted(id, record, recipients, merchant)
  local all, kept, rids, ends = cjson.decode(recipients), {}, {}, nil
  local reference = string.sub(id, 1, 12)
  for n, rid in ipairs(record.rs) do -- "" where an address could not be read
    local single = rid ~= "" and read_record(reference .. rid)
    local cancel = redis.call("HGET", cancels, "recipient:" .. rid)
    if rid ~= "" and is_active(suppressions, rid, rid .. "@" .. merchant) then
      ends = "suppressed"
    elseif single and single.e == "delivered" or is_active(cancels, "delivered:" .. reference .. ":" .. rid) then
      ends = "delivered"
    elseif cancel and tonumber(string.match(cancel, '"a":(%d+)')) >= record.f * 1000 then
      ends = "cancelled"
    else
      table.insert(kept, all[n])
      table.insert(rids, rid)
    end
  end
  if not ends then
    return recipients
  elseif #kept == 0 then
    return recipients, ends
  end
  record.rs = rids
  return cjson.encode(kept)
end
