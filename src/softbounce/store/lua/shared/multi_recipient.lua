-- multi_recipient: which of several recipients a resend may still go to.
-- needs: deliveries suppressions pauses cancels sent hmget parse_record parse_payload text agree elements made_at is_standing
--        reaches options
-- gives: is_any_paused is_any_cancelled keep_wanted
local is_any_paused, is_any_cancelled = redis.call("HLEN", pauses) > 0, redis.call("HLEN", cancels) > 0

-- Keeps the recipients of a retry that may still be sent to, and notes each one's pause and cap in `people`. Where nobody is left, all
-- recipients stay and `ends` says how the retry ends. It reads each hash once, however many recipients there are. Returns false where
-- the recipients are not those whose hashes the record has.
local function keep_wanted(retry)
  local record, merchant, reference = retry.record, retry.merchant, string.sub(retry.id, 1, 12)
  local singles, names, marks, entries = {}, {}, {}, {}
  for n, rid in ipairs(record.rs) do -- "" for an address that could not be read
    singles[n], names[n] = reference .. rid, "recipient:" .. rid
    marks[n] = is_any_cancelled and "delivered:" .. reference .. ":" .. rid
    entries[2 * n - 1], entries[2 * n] = rid, rid .. "@" .. merchant
  end
  local records, suppressed_, sent_ = hmget(deliveries, singles), hmget(suppressions, entries), hmget(sent, names)
  local paused_ = is_any_paused and hmget(pauses, names) or {}
  local cancelled_, delivered_ = {}, {}
  if is_any_cancelled then
    cancelled_, delivered_ = hmget(cancels, names), hmget(cancels, marks)
  end
  local kept, rids, people, ends = {}, {}, {}, nil -- kept: positions in the list
  local claim = text(retry.fields[3])
  for n, rid in ipairs(record.rs) do
    local single, payload = parse_record(records[n])
    local fields = single and single.e == "delivered" and parse_payload(payload)
    local is_late = fields and record.f - (single.m or 0) > options.reused / 1000 -- then it is of another message
    local has_it = fields and not is_late and agree(text(fields[4]), merchant) and agree(text(fields[3]), claim)
    local made = cancelled_[n] and made_at(cancelled_[n])
    if rid ~= "" and (is_standing(suppressed_[2 * n - 1]) or is_standing(suppressed_[2 * n])) then
      ends = "suppressed"
    elseif rid ~= "" and has_it or reaches(delivered_[n], merchant, claim, record.f * 1000, options.reused) then
      ends = "delivered"
    elseif made and made >= record.f * 1000 then
      ends = "cancelled"
    else
      kept[#kept + 1], rids[#rids + 1] = n, rid
      people[#people + 1] = { rid = rid, pause = paused_[n], sent = sent_[n] }
    end
  end
  retry.people = people
  if #kept == 0 and ends then
    retry.ends = ends
  elseif ends then
    local is_array, all = pcall(elements, retry.recipients)
    if not is_array or #all ~= #record.rs then
      return false
    end
    for place, n in ipairs(kept) do
      kept[place] = all[n]
    end
    record.rs, retry.recipients = rids, "[" .. table.concat(kept, ",") .. "]"
  end
  return true
end
