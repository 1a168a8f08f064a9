-- elements: the elements of a JSON array as they are written; with `most`, so many of them, and the rest as one text.
-- gives: elements
local function elements(array, most) -- unchanged texts: cjson would shorten a long number, and turn an empty list into {}
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
      elseif #found == most then
        found[most + 1] = string.sub(array, first, -2)
        return found
      end
    elseif sign ~= "," then
      depth = depth + ((sign == "[" or sign == "{") and 1 or -1)
    end
    at = at + 1
  end
end
