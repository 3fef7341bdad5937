-- The jobs that a script has to do with: each is read once, and stored once at the end.
local jobs = {}

-- A layer that will be asked for, too, comes along: its number as text.
local function job_of(id, at_text)
  local j = jobs[id]
  if j == nil then
    j = load_job(id, at_text)
    jobs[id] = j
  end
  return j
end

local function store_jobs()
  for _, j in pairs(jobs) do
    if j then store_job(j) end
  end
end
