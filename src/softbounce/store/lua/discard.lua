-- discard: deletes dead letters that a person drops, or that were reported again and have not come back meanwhile.
-- effects  a letter that was seen as often as the caller knows ("": however often) is deleted; one audit entry
-- returns  how many were deleted
-- keys: dead_letters audit meta

local entry = cjson.decode(ARGV[1]) -- actor, action, what, reason; then id, times seen

-- include: shared/full_store
-- include: shared/clock
-- include: shared/changes
-- include: shared/letter_bytes

local deleted = 0
for n = 2, #ARGV, 2 do
  local letter = hget(dead_letters, ARGV[n])
  if letter and (ARGV[n + 1] == "" or string.match(letter, '^{"n":(%d+)') == ARGV[n + 1]) then
    hdel(dead_letters, ARGV[n])
    deleted = deleted + 1
    add_letter_bytes(-#letter)
  end
end
entry.at = now
xadd(audit, entry)
write_changes()
return deleted
