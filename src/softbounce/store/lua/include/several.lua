-- several: whom of several recipients a resend may still go to. Needs: deliveries, suppressions, cancels, active, record.
-- Returns the recipients that are left, and where nobody is those that were, and how the retry ends.
local function elements(array) -- each as it is written: cjson would shorten a long number, and make {} of an empty list
  local found, first, depth, at = {}, 2, 0, 2
  while true do
    at = string.find(array, '["%[%]{},]', at)
    local sign = string.sub(array, at, at)
    if sign == '"' then
      repeat
        at = string.find(array, '["\\]', at + 1)
        local is_escape = string.sub(array, at, at) == "\\"
        at = is_escape and at + 1 or at
      until not is_escape
    elseif depth == 0 and (sign == "," or sign == "]") then
      table.insert(found, string.sub(array, first, at - 1))
      first = at + 1
      if sign == "]" then
        return found
      end
    elseif sign ~= "," then
      depth = depth + ((sign == "[" or sign == "{") and 1 or -1)
    end
    at = at + 1
  end
end

local function still_wanted(id, record, recipients, merchant)
  local all, kept, rids, ends = elements(recipients), {}, {}, nil
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
  return "[" .. table.concat(kept, ",") .. "]"
end
