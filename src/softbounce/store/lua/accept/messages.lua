-- messages: which message a report is about, where producers gave one reference to several. The first has the plain id; the next ones
-- have "~2", "~3" and so on behind it, so that recipient and reference can be read from each.
-- needs: deliveries now hget parse_payload text look_up write_record remember open_case agree elements is_consent SILENT limits
-- gives: is_of_another find_message with_names tell_reuse
local MOST_MESSAGES = 9 -- under one reference, as each report is compared with them in turn; one more is about the newest of them

local NAMES = 6 -- elements of a payload up to those that name merchant and claim

-- Whether a report names another merchant or another claim than a delivery does. One that names neither is of each.
local function is_of_another(event, payload)
  local fields = payload ~= event.payload and (event.m ~= "" or event.cl ~= "") and parse_payload(payload)
  return fields and not (agree(event.m, text(fields[4])) and agree(event.cl, text(fields[3])))
end

-- Whether a report is of a message that cannot be the one of this record.
local function is_another(event, record, payload)
  if is_of_another(event, payload) then
    return true
  end
  local is_over = record.s == "ended" and not SILENT[record.e] and event.y == "failure" and not is_consent(event.code)
  return is_over and math.min(event.at or now, now) - (record.m or 0) * 1000 > limits.reused
end

-- Follows an event from a delivery to that of its own message. Returns its id, record, payload and recipients; no record where the
-- event is the first report of it.
local function find_message(event, delivery, record, payload, recipients)
  local id, number = string.match(delivery, "^([^~]*)~?(%d*)$")
  number = tonumber(number) or 1
  while record and number < MOST_MESSAGES and is_another(event, record, payload) do
    if record.s == "ended" then -- while it is remembered, the reports of the next message find their way past it
      record.z = now + limits.history
      write_record(delivery, record, payload, recipients)
    end
    event.other, event.ref = delivery, event.ref or (parse_payload(payload) or { "" })[1]
    number, event.is_reused = number + 1, true
    delivery = id .. "~" .. number
    record, payload, recipients = look_up(event, delivery, hget(deliveries, delivery))
  end
  return delivery, record, payload, recipients
end

-- Returns the payload of a report that names neither merchant nor claim, with what an earlier one of its message said of them.
local function with_names(event)
  if event.m ~= "" or event.cl ~= "" or not event.old_payload then
    return event.payload
  end
  local is_array, old = pcall(elements, event.old_payload, NAMES)
  if not is_array then
    return event.payload
  end
  local new = elements(event.payload, NAMES)
  for place = 3, NAMES do -- claim, merchant, the claim's number, the customer's
    new[place] = old[place] or new[place]
  end
  return "[" .. table.concat(new, ",") .. "]"
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
