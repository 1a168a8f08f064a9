-- deliveries_of: the deliveries that the lines of a message's history are about, in the order of their first lines.
-- gives: deliveries_of
local function deliveries_of(reference, lines)
  local ids, seen = {}, {}
  for own in string.gmatch(lines, '{"t":%d+,"y":"([^"]*)"') do
    if not seen[own] then
      ids[#ids + 1], seen[own] = reference .. own, true
    end
  end
  return ids
end
