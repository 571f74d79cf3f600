#include <stdio.h>
#include <stdlib.h>

int main(int count, char **words) {
    return count == 3 && printf("%d\n", atoi(words[1]) + atoi(words[2])) > 0 ? 0 : 1;
}
