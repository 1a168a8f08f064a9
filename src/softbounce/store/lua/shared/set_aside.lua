-- set_aside: takes an unreadable delivery, or notice (is_notice), off its schedule, keeps its bytes, and tells a person.
-- needs: schedule deliveries damaged notices notice_bodies hset hdel zrem open_case
-- gives: set_aside
local function set_aside(name, raw, is_notice)
  local kept = is_notice and "notice:" .. name or name
  hset(damaged, kept, raw)
  hdel(is_notice and notice_bodies or deliveries, name)
  zrem(is_notice and notices or schedule, name)
  open_case("damaged_record\n\n\n\n", kept, { kind = "damaged_record", merchant = "", channel = "", code = "", detail = "" })
end
