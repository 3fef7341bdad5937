-- The jobs that a script has to do with: each is read once, and stored once at the end.
local jobs = {}

-- A layer that will be asked for, too, comes along.
local function job_of(id, at)
  local j = jobs[id]
  if j == nil then
    j = load_job(id, at)
    jobs[id] = j
  end
  return j
end

local function store_jobs()
  for _, j in pairs(jobs) do
    if j then store_job(j) end
  end
end
