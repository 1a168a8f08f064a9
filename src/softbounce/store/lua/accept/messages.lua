-- messages: which message a report is about, where producers gave one reference to several. The first has the plain id; the next ones
-- have "~2", "~3" and so on behind it, so that recipient and reference can be read from each.
-- needs: deliveries now hget parse_payload text look_up write_record remember open_case agree SILENT limits
-- gives: is_of_another find_message tell_reuse
local MOST_MESSAGES = 99 -- under one reference; one more report is about the newest of them

-- Whether a report names another merchant or another claim than a delivery does. One that names neither is of each.
local function is_of_another(event, payload)
  local fields = payload ~= event.payload and (event.m ~= "" or event.cl ~= "") and parse_payload(payload)
  return fields and not (agree(event.m, text(fields[4])) and agree(event.cl, text(fields[3])))
end

local function ended_at(record)
  return record.m and record.m * 1000 or record.z - limits.history
end

-- Whether a report is of a message that cannot be the one of this record.
local function is_another(event, record, payload)
  if is_of_another(event, payload) then
    return true
  end
  local is_over = record.s == "ended" and not SILENT[record.e]
  return is_over and math.min(event.at or now, now) - ended_at(record) > limits.reused
end

-- Follows the event to its own message. Returns the record there, its payload and recipients; nil where it is the first report of it.
local function find_message(event, record, payload, recipients)
  local id, number = string.match(event.delivery, "^([^~]*)~?(%d*)$")
  number = tonumber(number) or 1
  while record and number < MOST_MESSAGES and is_another(event, record, payload) do
    if record.s == "ended" then -- while it is remembered, the reports of the next message find their way past it
      record.m, record.z = math.floor(ended_at(record) / 1000), now + limits.history
      write_record(event.delivery, record, payload, recipients)
    end
    number = number + 1
    event.other, event.ref = event.delivery, event.ref or (parse_payload(payload) or { "" })[1]
    event.delivery, event.is_reused = id .. "~" .. number, true
    record, payload, recipients = look_up(event, event.delivery, hget(deliveries, event.delivery))
  end
  return record, payload, recipients
end

-- Tells a person that a reference was given to a second message; `id` is the delivery that shows it.
local function tell_reuse(event, id)
  local group = "reference_reused\n" .. event.m .. "\n" .. event.ch .. "\n\n"
  local case = open_case(group, id, {
    kind = "reference_reused", merchant = event.m, channel = event.ch, code = "", detail = "", sample = event.ref, rule = "",
  })
  remember(id, '"k":"reused","a":0,"c":"' .. case .. '","n":"another message has the same reference"}')
  return case
end
