-- suppressions: joins, lifts and moves causes of the suppression list for a person, with one audit entry; all of it or nothing.
-- effects  a cause that is joined is written beside those that stand, see shared/causes; a dry run writes nothing
-- returns  for each change what became of it, and the entry as it is then (JSON, "": there is none). Joined: "new", "weaker" (a
--          stronger or longer cause stands, and it is kept beneath) or "listed" (it says nothing new). Else: the number of causes
-- keys: suppressions audit meta cancels

local note = cjson.decode(ARGV[1]) -- actor, action, what, reason
local is_dry = ARGV[2] == "dry"
-- then for each change its field and one of: {join = causes of one row, its own one last; earlier = what a dry run joined before;
-- replaces = true: it takes the place of one of its code and origin}, {lift = {code, origin}}, {move = the field of today, address, mask}

-- include: shared/full_store
-- include: shared/clock
-- include: shared/changes
-- include: shared/causes

local function is_any()
  return true
end

local function join_all(field, change)
  local last = change.join[#change.join]
  if change.replaces then
    lift(field, function(cause)
      return cause.code == last.code and cause.origin == last.origin
    end)
  end
  for _, cause in ipairs(change.earlier or {}) do
    join(field, cause)
  end
  local is_any_news = false
  for n = 1, #change.join - 1 do
    local _, _, is_news = join(field, change.join[n])
    is_any_news = is_any_news or is_news
  end
  local joined, cause, is_news = join(field, last)
  if not (is_news or is_any_news) then
    return "listed"
  end
  local strongest = joined.causes and joined.causes[1] or joined
  local is_strongest = strongest.code == cause.code and strongest.origin == cause.origin
  return is_strongest and joined.z == cause.z and "new" or "weaker"
end

local function lift_one(field, wanted)
  local lifted = lift(field, function(cause)
    return cause.code == wanted[1] and cause.origin == wanted[2]
  end)
  return #lifted
end

local function move(field, change)
  local lifted = lift(field, is_any)
  for _, cause in ipairs(lifted) do
    cause.address, cause.mask = change.address, change.mask
    join(change.move, cause)
  end
  return #lifted
end

local function without_address(text) -- the audit is kept after `recipients forget`
  local value = text and cjson.decode(text)
  if not value then
    return ""
  end
  value.address = nil
  return cjson.encode(value)
end

local fields, seen = {}, {}
for n = 3, #ARGV, 2 do
  if not seen[ARGV[n]] then
    fields[#fields + 1], seen[ARGV[n]] = ARGV[n], true
  end
end
fetch(suppressions, fields)
local before = #fields == 1 and hget(suppressions, fields[1])
local answers = {}
for n = 3, #ARGV, 2 do
  local field, change = ARGV[n], cjson.decode(ARGV[n + 1])
  local what
  if change.join then
    what = join_all(field, change)
  elseif change.lift then
    what = lift_one(field, change.lift)
  else
    what = move(field, change)
  end
  answers[#answers + 1] = { what, hget(suppressions, field) or "" }
end
if is_dry then
  return answers
end
note.at = now
if #fields == 1 then
  note.before, note.after = without_address(before), without_address(hget(suppressions, fields[1]))
end
xadd(audit, note)
write_changes()
return answers
