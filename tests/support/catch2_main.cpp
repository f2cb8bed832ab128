// The default main(). It is an object file of its own in a library, so an executable with its own main() never links it.
namespace muster::test {
int run_catch2(int argc, char** argv);
}

int main(int argc, char** argv) { return muster::test::run_catch2(argc, argv); }
