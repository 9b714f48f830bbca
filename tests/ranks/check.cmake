# SPDX-License-Identifier: MIT
# cmake -DPROGRAM=<train_on_ranks> -DMPIEXEC=<mpirun> -DFOLDER=<scratch> -DPART=<bits|kill|failure> -P check.cmake
cmake_minimum_required(VERSION 3.25)

# train(<ranks> <expected status: 0, or "failure"> <arguments>...): sets `sum`, the checksum of the weights, and `log`
function(train ranks expected)
  execute_process(
    COMMAND "${MPIEXEC}" -n ${ranks} --oversubscribe --bind-to none "${PROGRAM}" ${ARGN}
    OUTPUT_VARIABLE out ERROR_VARIABLE error RESULT_VARIABLE status TIMEOUT 300)
  message(STATUS "${ranks} ranks ${ARGN}: status ${status}\n${out}")
  if((expected STREQUAL "0" AND NOT status STREQUAL "0") OR (expected STREQUAL "failure" AND status STREQUAL "0"))
    message(FATAL_ERROR "status ${expected} expected, ${status} came\n${error}")
  endif()
  string(REGEX MATCH "checksum of the weights ([0-9a-f]+)" found "${out}")
  set(sum "${CMAKE_MATCH_1}" PARENT_SCOPE)
  set(log "${error}" PARENT_SCOPE)
endfunction()

function(require_equal a b)
  if(a STREQUAL "" OR NOT a STREQUAL b)
    message(FATAL_ERROR "the same weights expected, ${a} and ${b} came")
  endif()
endfunction()

file(REMOVE_RECURSE "${FOLDER}")
file(MAKE_DIRECTORY "${FOLDER}")
set(checkpoint "${FOLDER}/run.safetensors")

if(PART STREQUAL "bits")
  train(1 0 --steps 200 --batch 8 --shard 4 --threads 2)
  set(one "${sum}")
  train(2 0 --steps 200 --batch 8 --shard 4)
  require_equal("${one}" "${sum}")
  # Stopped and gone on with, on another number of ranks.
  train(2 0 --steps 120 --batch 8 --shard 4 --threads 2 --stop-step 90 --checkpoint "${checkpoint}")
  train(1 0 --steps 120 --batch 8 --shard 4 --checkpoint "${checkpoint}")
  set(pieces "${sum}")
  train(1 0 --steps 120 --batch 8 --shard 4)
  require_equal("${sum}" "${pieces}")
elseif(PART STREQUAL "kill")
  # The last rank kills itself: the job ends with an error, and what is left is good to go on from.
  train(2 failure --steps 60 --batch 8 --shard 4 --kill-step 40 --checkpoint "${checkpoint}")
  if(NOT EXISTS "${checkpoint}")
    message(FATAL_ERROR "a checkpoint expected\n${log}")
  endif()
  train(2 0 --steps 60 --batch 8 --shard 4 --checkpoint "${checkpoint}")
  set(gone_on "${sum}")
  train(1 0 --steps 60 --batch 8 --shard 4)
  require_equal("${sum}" "${gone_on}")
elseif(PART STREQUAL "failure")
  # What a rank throws ends the job with its message, and the last whole step is saved.
  train(2 failure --steps 60 --batch 8 --shard 4 --fail-step 30 --checkpoint "${checkpoint}")
  if(NOT log MATCHES "asked to fail in step 30" OR NOT log MATCHES "step 30 failed on another rank")
    message(FATAL_ERROR "the reason expected\n${log}")
  endif()
  train(2 0 --steps 60 --batch 8 --shard 4 --checkpoint "${checkpoint}")
  set(gone_on "${sum}")
  train(1 0 --steps 60 --batch 8 --shard 4)
  require_equal("${sum}" "${gone_on}")
endif()
