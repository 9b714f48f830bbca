# SPDX-License-Identifier: MIT
# cmake -DPROGRAM=... -DSECONDS=... -DCORPUS=... -DSEEDS=... -DRESULT=... -P run.cmake: runs a fuzz target for that long, and writes
# the seconds to RESULT where it found nothing: what claims-images reads.
cmake_minimum_required(VERSION 3.25)
file(REMOVE "${RESULT}")
file(MAKE_DIRECTORY "${CORPUS}" "${SEEDS}")
execute_process(
  COMMAND "${PROGRAM}" -max_total_time=${SECONDS} -timeout=20 -rss_limit_mb=1024 -malloc_limit_mb=256 -print_final_stats=1
          "${CORPUS}" "${SEEDS}"
  RESULT_VARIABLE result)
if(NOT result EQUAL 0)
  message(FATAL_ERROR "${PROGRAM} found something: ${result}")
endif()
file(WRITE "${RESULT}" "${SECONDS}\n")
