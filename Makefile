# The build that ships (PGXS). Targets:
#
#   make                 build attribution-INTERFACE.so, attribution--VERSION.sql and attribution--VERSION.control
#   make install         copy them into the PostgreSQL of PG_CONFIG (default: pg_config)
#   make installcheck    pg_regress and pg_isolation_regress against a running server (PGHOST, ...)
#   make boundary-test   build the test module test/boundary
#   make check-symbols   only PostgreSQL's entry points are exported, and nothing new of PostgreSQL is needed
#   make check-layers    core <- pg <- entry, and one home for try and catch
#   make check-house     sizes of files and functions, one home for each noun, name and dangerous call
#   make check-version   META.json and the Makefile agree with attribution.control
#   make check-installed what `make install` puts lies in places of our own, and the pages' links lead somewhere
#   make format          clang-format over src and test
#   make tidy            clang-tidy over src, stricter over src/core
#   make accept TEST=x   show the difference of one test and take its output as expected
#   make accept-symbols  list in test/needed_symbols what the library needs of PostgreSQL
#   make clean           remove what was built
#   make help            this list
#
# Variables: PG_CONFIG, CXX (g++ or clang++), WERROR=1 makes warnings errors.
# ./test/run builds, starts a throwaway server and runs every suite; ./demo/run shows the path.

PG_CONFIG ?= pg_config

EXTENSION = attribution
EXTVERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" attribution.control)
# The major of the library's interface is in the name of its file, so that the libraries of two interfaces lie side by
# side for the databases of one server: doc/versions.md.
INTERFACE := $(shell sed -n "s/^module_pathname *= *'.*-\([0-9]*\)'/\1/p" attribution.control)
MODULE_big = attribution-$(INTERFACE)

SOURCES := $(sort $(wildcard src/core/*.cpp src/core/*/*.cpp src/pg/*.cpp src/entry/*.cpp src/entry/*/*.cpp))
OBJS = $(SOURCES:.cpp=.o)

INSTALL_SQL := $(sort $(wildcard sql/install/*.sql))
TABLE_SQL := $(sort $(wildcard sql/tables/*.sql))
# One for each version that changed the tables, the oldest first.
UPGRADE_STEPS := $(shell printf '%s\n' $(wildcard sql/tables/upgrade/*.sql) | sort -V)
TABLE_VERSION := $(basename $(notdir $(lastword $(UPGRADE_STEPS))))
DATA_built = attribution--$(EXTVERSION).sql attribution--$(EXTVERSION).control
# Empty variables must not look defined to PGXS: expand now.
DATA := $(wildcard sql/upgrade/*.sql)
# Not DOCS, which PGXS puts flat into a directory that all extensions share. The pages lie as they do here, so that
# their links work.
PAGES := $(wildcard README.md CHANGELOG.md CONTRIBUTING.md LICENSE bench/README.md doc/*.md doc/*.svg)

REGRESS = $(patsubst test/sql/%.sql,%,$(sort $(wildcard test/sql/*.sql)))
REGRESS_OPTS = --inputdir=test
ISOLATION = $(patsubst test/isolation/specs/%.spec,%,$(sort $(wildcard test/isolation/specs/*.spec)))
ISOLATION_OPTS = --inputdir=test/isolation --outputdir=.

# PostgreSQL up to 15 uses the keyword register, 18's PG_MODULE_MAGIC leaves fields out, and macros of every version
# are statements in expressions and compound literals, of which clang would speak where they are used.
WARNINGS = -Wall -Wextra -Wshadow -Wpedantic -Wconversion -Wno-register -Wno-missing-field-initializers \
           -Wno-gnu-statement-expression -Wno-c99-extensions $(if $(WERROR),-Werror)
# As system headers: clang has more to say about PostgreSQL's than g++.
PG_CPPFLAGS = -isystem $(shell $(PG_CONFIG) --includedir-server) -I$(srcdir)/src \
              -DATTRIBUTION_INTERFACE='"$(INTERFACE)"' $(TEST_CPPFLAGS)
# For the files that use it alone, so that another version compiles these alone.
VERSION_CPPFLAGS = -DATTRIBUTION_VERSION='"$(EXTVERSION)"'
VERSION_OBJS = src/entry/module.o src/entry/tables/library_version.o
# Two builds of one commit are equal wherever they are made: paths in the debug information are relative to this
# directory, which the compiler takes from PWD, and nothing asks for the time.
REPRODUCIBLE = '-ffile-prefix-map=$(CURDIR)=.' -Werror=date-time
export PWD := $(CURDIR)
PG_CXXFLAGS = -std=c++20 -O2 -fvisibility=hidden -fvisibility-inlines-hidden -MMD -MP $(REPRODUCIBLE) $(WARNINGS)
# PGXS links with the C compiler.
SHLIB_LINK += -lfmt -lstdc++ -Wl,--version-script=$(srcdir)/src/exports.map

EXTRA_CLEAN = $(OBJS:.o=.d) attribution-*.so attribution--*.sql attribution--*.control results output_iso tmp_check regression.diffs \
              regression.out test/boundary/*.o test/boundary/*.d test/boundary/*.so

PGXS := $(shell $(PG_CONFIG) --pgxs)
ifeq ($(PGXS),)
ifeq ($(filter help,$(MAKECMDGOALS)),)
$(error $(PG_CONFIG) not found: install postgresql-server-dev-NN or set PG_CONFIG)
endif
else
# Bitcode is compiled without PG_CXXFLAGS, hence as C++14; inlining by the JIT gains nothing here.
override with_llvm := no
include $(PGXS)
endif

# The server build's g++ spelling, which clang does not know; -Wextra has it anyway.
override CXXFLAGS := $(filter-out -Wimplicit-fallthrough=%,$(CXXFLAGS))

-include $(OBJS:.o=.d)

$(VERSION_OBJS): override CPPFLAGS += $(VERSION_CPPFLAGS)
$(VERSION_OBJS): attribution.control

# The statements of sql/tables become the text of a function, and those of sql/tables/upgrade of another.
attribution--$(EXTVERSION).sql: $(INSTALL_SQL) $(TABLE_SQL) $(UPGRADE_STEPS) attribution.control
	cat $(TABLE_SQL) > $@.tables
	comma=' '; for step in $(UPGRADE_STEPS); do \
	    printf "%s '%s', \$$upgrade\$$\n" "$$comma" "$$(basename $$step .sql)" && cat $$step && echo '$$upgrade$$' || exit 1; \
	    comma=','; \
	done > $@.upgrades
	sed -e '/^@sql\/tables@$$/{' -e 'r $@.tables' -e 'd' -e '}' \
	    -e '/^@sql\/tables\/upgrade@$$/{' -e 'r $@.upgrades' -e 'd' -e '}' \
	    -e 's/@table_version@/$(TABLE_VERSION)/' $(INSTALL_SQL) > $@
	rm $@.tables $@.upgrades

# The script of a version belongs to the library of its interface, whatever attribution.control says by then: the
# script stays when a later version is installed, and its functions are those of its own library.
attribution--$(EXTVERSION).control: attribution.control
	echo "module_pathname = '\$$libdir/$(MODULE_big)'" > $@

ifdef docdir
pages_directory = $(DESTDIR)$(docdir)/$(docmoduledir)/attribution

install: install-pages
install-pages:
	$(MKDIR_P) $(foreach directory,$(sort $(dir $(PAGES))),'$(pages_directory)/$(directory)')
	$(foreach page,$(PAGES),$(INSTALL_DATA) '$(srcdir)/$(page)' '$(pages_directory)/$(page)' &&) :

uninstall: uninstall-pages
uninstall-pages:
	rm -rf '$(pages_directory)'
endif

help:
	@sed -n 's/^#   \(make.*\)/  \1/p' Makefile

boundary-test: test/boundary/boundary_test.so
test/boundary/boundary_test.so: test/boundary/boundary_test.o
	$(CC) $(CFLAGS) -shared -o $@ $< $(LDFLAGS) -lfmt -lstdc++
-include test/boundary/boundary_test.d

check-symbols: $(shlib)
	PG_CONFIG=$(PG_CONFIG) test/check_symbols $(shlib)

check-layers:
	test/check_layers

check-house:
	test/check_house

check-version:
	test/check_version

format:
	clang-format -i $(wildcard src/*/*.hpp src/*/*.cpp src/*/*/*.hpp src/*/*/*.cpp test/unit/*.cpp test/unit/*.hpp test/unit/*/*.cpp test/unit/*/*.hpp test/boundary/*.cpp test/fuzz/*.cpp)

# A few files a process, as many processes as cores: most of it is PostgreSQL's headers, again for each file.
tidy:
	printf '%s\n' $(SOURCES) | flags='-std=c++20 $(subst ',,$(PG_CPPFLAGS) $(VERSION_CPPFLAGS)) -D_GNU_SOURCE -Wno-everything' \
	    xargs -n 3 -P $(shell nproc) sh -c 'clang-tidy --quiet "$$@" -- $$flags' tidy

accept:
	@test -n "$(TEST)" || { echo "usage: make accept TEST=name"; exit 1; }
	-diff -u expected/$(TEST).out results/$(TEST).out
	cp results/$(TEST).out expected/$(TEST).out

check-installed:
	rm -rf build/installed
	$(MAKE) -s install DESTDIR=$(abspath build/installed)
	PG_CONFIG=$(PG_CONFIG) test/check_installed build/installed

accept-symbols: $(shlib)
	PG_CONFIG=$(PG_CONFIG) test/check_symbols --accept $(shlib) >test/needed_symbols.new
	mv test/needed_symbols.new test/needed_symbols
	git diff --stat test/needed_symbols

.PHONY: check-house accept-symbols install-pages uninstall-pages check-installed help boundary-test check-symbols check-layers check-version format tidy accept
