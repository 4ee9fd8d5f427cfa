# cmake -DNM=nm -DISA=avx2 "-DOBJECTS=a.o;b.o" -DSTAMP=file -P isa_symbols.cmake
# Fails when an object compiled for an ISA defines a symbol for others outside of its own namespace: the linker may
# take such a copy (an inline function of a header, say) for the whole program, which then needs that ISA everywhere.
foreach(object IN LISTS OBJECTS)
  execute_process(COMMAND ${NM} -C --defined-only --extern-only ${object} OUTPUT_VARIABLE symbols
                  COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX MATCHALL "[^\n]+" lines "${symbols}")
  foreach(line IN LISTS lines)
    if(NOT line MATCHES "^[0-9a-fA-F]* +[A-Za-z] +ktd::${ISA}::")
      message(FATAL_ERROR "${object}, compiled for ${ISA}, defines a symbol for all: ${line}")
    endif()
  endforeach()
endforeach()
file(TOUCH ${STAMP})
