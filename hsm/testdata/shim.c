// A PKCS#11 module that forwards to the one named by SHIM_MODULE and misbehaves
// as the file named by SHIM_CONTROL says, in lines "<call> <what> [<n>]" of which
// the first of a call counts:
//
//	<code>        return the code, once; with "keep" while the file stands; with
//	              "session" so, but of objects of the session alone
//	              (C_CreateObject)
//	hide <label>  leave objects of this label out of what is found (C_FindObjects)
//	hang          hold the call until the file is gone
//	30s           hold the first such call for that long
//	lie           report CKA_EXTRACTABLE as true (C_GetAttributeValue), or ML-DSA
//	              as a mechanism (C_GetMechanismList)
//	garble        keep another value than it was given (C_CreateObject)
//	blank         report no CKA_CHECK_VALUE (C_GetAttributeValue)
//	abort, segv   crash the process, once
//	logout        log out behind the caller's back first, once
//	closeall      close every session of the slot first, once
//	orphan        kill the parent process, then this one, once
//	shuffle <n>   let every object's number name the n-th next object first,
//	              once; finding an object gives its new number
//
// "* gone" makes the device vanish: every call fails with 0x30 from then on, in
// this initialization of the module for ever; after another C_Initialize there
// are no slots while the file stands. The n-th C_SetPIN of a process is called
// C_SetPIN<n>, and C_SetPIN<n>.done once it returned. Each C_Login appends an L to SHIM_LOGINS,
// each C_Finalize that is done an F.
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef unsigned long ul;
struct list { unsigned char major, minor; void *fn[68]; };
struct attr { ul type; unsigned char *value; ul len; };
typedef ul (*call8)(ul, ul, ul, ul, ul, ul, ul, ul);

static struct list real, mine;
static volatile int dead; // the device was gone in this initialization
static ul slot;
static int slow; // calls that were told to take 30 s

// Objects by the number that callers have, which starts at 1.
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static ul objects[4096], count;

static ul outside(ul handle) {
	pthread_mutex_lock(&lock);
	ul i = 0;
	while (i < count && objects[i] != handle) i++;
	if (i == count) objects[count++ % 4096] = handle;
	pthread_mutex_unlock(&lock);
	return i + 1;
}

static ul inside(ul number) {
	pthread_mutex_lock(&lock);
	ul handle = number >= 1 && number <= count ? objects[number - 1] : 0;
	pthread_mutex_unlock(&lock);
	return handle;
}

static void shuffle(ul n) {
	pthread_mutex_lock(&lock);
	ul old[4096];
	memcpy(old, objects, sizeof old);
	for (ul i = 0; i < count; i++) objects[i] = old[(i + n) % count];
	pthread_mutex_unlock(&lock);
}

enum { FORWARD, LIE, BLANK, GARBLE, HIDE, SESSION, ANSWER };

static char hidden[64]; // the label that HIDE is of

static int told(const char *name, ul session, ul *rv) {
	const char *path = getenv("SHIM_CONTROL");
	char line[256], call[64] = "", what[64] = "", arg[64] = "";
	FILE *f = path ? fopen(path, "r") : NULL;
	if (f) {
		while (strcmp(call, name) && call[0] != '*' && fgets(line, sizeof line, f)) {
			arg[0] = 0;
			if (sscanf(line, "%63s %63s %63s", call, what, arg) < 2) call[0] = 0;
		}
		fclose(f);
	}
	if (!strcmp(call, "*") && !strcmp(what, "gone")) {
		if (strcmp(name, "C_Initialize") && strcmp(name, "C_Finalize") && strcmp(name, "C_GetSlotList")) dead = 1;
	} else if (strcmp(call, name)) call[0] = 0;
	if (dead) { *rv = 0x30; return ANSWER; }
	if (!call[0] || call[0] == '*') return FORWARD;
	if (!strcmp(what, "lie")) return LIE;
	if (!strcmp(what, "blank")) return BLANK;
	if (!strcmp(what, "garble")) return GARBLE;
	if (!strcmp(what, "hide")) { strcpy(hidden, arg); return HIDE; }
	if (!strcmp(what, "hang")) {
		while (access(path, F_OK) == 0) usleep(2000);
		return FORWARD;
	}
	if (!strcmp(what, "30s")) {
		if (__sync_add_and_fetch(&slow, 1) == 1) sleep(30);
		return FORWARD;
	}
	if (strcmp(arg, "keep") && strcmp(arg, "session") && unlink(path)) return FORWARD; // another thread was first
	if (!strcmp(what, "abort")) abort();
	if (!strcmp(what, "orphan")) { kill(getppid(), SIGKILL); kill(getpid(), SIGKILL); }
	if (!strcmp(what, "segv")) *(volatile int *)8 = 1;
	if (!strcmp(what, "shuffle")) { shuffle(strtoul(arg, NULL, 0)); return FORWARD; }
	if (!strcmp(what, "logout")) { ((ul (*)(ul))real.fn[19])(session); return FORWARD; }
	if (!strcmp(what, "closeall")) { ((ul (*)(ul))real.fn[14])(slot); return FORWARD; }
	*rv = strtoul(what, NULL, 0);
	return strcmp(arg, "session") ? ANSWER : SESSION;
}

#define HEAD(name) \
	ul rv = 0; \
	int how = told(name, a, &rv); \
	if (how == ANSWER) return rv;
#define ARGS ul a, ul b, ul c, ul d, ul e, ul f, ul g, ul h
#define CALL(index) ((call8)real.fn[index])(a, b, c, d, e, f, g, h)

// Calls without an object, or with one as their second or third argument.
#define PLAIN(name, index) static ul my_##name(ARGS) { HEAD(#name) return CALL(index); }
#define SECOND(name, index) static ul my_##name(ARGS) { HEAD(#name) b = inside(b); return CALL(index); }
#define THIRD(name, index) static ul my_##name(ARGS) { HEAD(#name) c = inside(c); return CALL(index); }
PLAIN(C_GetTokenInfo, 6)
PLAIN(C_InitToken, 9)
PLAIN(C_InitPIN, 10)
PLAIN(C_CloseSession, 13)
PLAIN(C_GetSessionInfo, 15)
SECOND(C_DestroyObject, 22)
PLAIN(C_FindObjectsInit, 26)
PLAIN(C_FindObjectsFinal, 28)
THIRD(C_EncryptInit, 29)
PLAIN(C_Encrypt, 30)
THIRD(C_DecryptInit, 33)
PLAIN(C_Decrypt, 34)
THIRD(C_SignInit, 42)
PLAIN(C_Sign, 43)
PLAIN(C_GenerateRandom, 64)

static ul my_C_Initialize(ARGS) {
	dead = 0;
	HEAD("C_Initialize")
	count = 0;
	return CALL(0);
}

static void note(const char *what) {
	const char *path = getenv("SHIM_LOGINS");
	int fd = path ? open(path, O_CREAT | O_WRONLY | O_APPEND, 0600) : -1;
	if (fd < 0) return;
	if (write(fd, what, 1) != 1) abort();
	close(fd);
}

static ul my_C_Finalize(ARGS) {
	dead = 0;
	HEAD("C_Finalize")
	rv = CALL(1);
	note("F");
	return rv;
}

static ul my_C_GetSlotList(ARGS) {
	HEAD("C_GetSlotList")
	const char *path = getenv("SHIM_CONTROL");
	char line[64] = "";
	FILE *file = path ? fopen(path, "r") : NULL;
	if (file) {
		if (!fgets(line, sizeof line, file)) line[0] = 0;
		fclose(file);
	}
	if (!strncmp(line, "* gone", 6)) { *(ul *)c = 0; return 0; }
	return CALL(4);
}

static ul my_C_GetMechanismList(ARGS) {
	HEAD("C_GetMechanismList")
	rv = CALL(7);
	if (how == LIE && !rv) {
		ul *list = (ul *)b;
		if (list) list[0] = 0x1c, list[1] = 0x1d; // in place of two others
	}
	return rv;
}

static ul my_C_OpenSession(ARGS) {
	HEAD("C_OpenSession")
	slot = a;
	return CALL(12);
}

static ul my_C_Login(ARGS) {
	note("L");
	HEAD("C_Login")
	return CALL(18);
}

static ul my_C_SetPIN(ARGS) {
	static int n;
	char before[32], after[32];
	snprintf(before, sizeof before, "C_SetPIN%d", ++n);
	snprintf(after, sizeof after, "C_SetPIN%d.done", n);
	{ HEAD(before) }
	ul done = CALL(11);
	{ HEAD(after) }
	return done;
}

static ul my_C_CreateObject(ARGS) {
	HEAD("C_CreateObject")
	if (how == SESSION) {
		int stays = 0;
		for (ul i = 0; i < c; i++) {
			struct attr *t = (struct attr *)b + i;
			if (t->type == 0x1 && t->value) stays = t->value[0];
		}
		if (!stays) return rv;
	}
	struct attr *value = NULL;
	for (ul i = 0; how == GARBLE && i < c; i++)
		if (((struct attr *)b)[i].type == 0x11) value = (struct attr *)b + i;
	if (value) value->value[0] ^= 1;
	rv = CALL(20);
	if (value) value->value[0] ^= 1;
	if (!rv) *(ul *)d = outside(*(ul *)d);
	return rv;
}

static ul my_C_CopyObject(ARGS) {
	HEAD("C_CopyObject")
	b = inside(b);
	if (!(rv = CALL(21))) *(ul *)e = outside(*(ul *)e);
	return rv;
}

static ul my_C_GetAttributeValue(ARGS) {
	HEAD("C_GetAttributeValue")
	b = inside(b);
	rv = CALL(24);
	if (how == LIE) for (ul i = 0; i < d; i++) {
		struct attr *t = (struct attr *)c + i;
		if (t->type == 0x162 && t->value) t->value[0] = 1;
	} else if (how == BLANK) for (ul i = 0; i < d; i++) {
		struct attr *t = (struct attr *)c + i;
		if (t->type == 0x90) t->len = rv = 0; // 0x150 where the caller believed it the first time
	}
	return rv;
}

static ul my_C_FindObjects(ARGS) {
	HEAD("C_FindObjects")
	do {
		if ((rv = CALL(27)) || !*(ul *)d) return rv;
		ul *found = (ul *)b, n = 0;
		for (ul i = 0; i < *(ul *)d; i++) {
			char label[64] = "";
			struct attr t = {0x3, (unsigned char *)label, sizeof label - 1};
			if (how == HIDE) ((ul (*)(ul, ul, struct attr *, ul))real.fn[24])(a, found[i], &t, 1);
			if (how != HIDE || strcmp(label, hidden)) found[n++] = outside(found[i]);
		}
		*(ul *)d = n;
	} while (!*(ul *)d);
	return 0;
}

static ul my_C_GenerateKey(ARGS) {
	HEAD("C_GenerateKey")
	if (!(rv = CALL(58))) *(ul *)e = outside(*(ul *)e);
	return rv;
}

static ul my_C_GenerateKeyPair(ARGS) {
	HEAD("C_GenerateKeyPair")
	if ((rv = CALL(59))) return rv;
	*(ul *)g = outside(*(ul *)g);
	*(ul *)h = outside(*(ul *)h);
	return 0;
}

ul C_GetFunctionList(struct list **out) {
	if (!mine.fn[0]) {
		void *h = dlopen(getenv("SHIM_MODULE"), RTLD_NOW);
		struct list *l = NULL;
		ul (*get)(struct list **) = h ? (ul (*)(struct list **))dlsym(h, "C_GetFunctionList") : NULL;
		if (!get || get(&l)) return 5;
		real = *l;
		mine = *l;
		void *at[68] = {
			[0] = my_C_Initialize, [1] = my_C_Finalize, [4] = my_C_GetSlotList, [6] = my_C_GetTokenInfo,
			[7] = my_C_GetMechanismList,
			[9] = my_C_InitToken, [10] = my_C_InitPIN, [11] = my_C_SetPIN,
			[12] = my_C_OpenSession, [13] = my_C_CloseSession, [15] = my_C_GetSessionInfo, [18] = my_C_Login,
			[20] = my_C_CreateObject, [21] = my_C_CopyObject, [22] = my_C_DestroyObject, [24] = my_C_GetAttributeValue,
			[26] = my_C_FindObjectsInit, [27] = my_C_FindObjects, [28] = my_C_FindObjectsFinal,
			[29] = my_C_EncryptInit, [30] = my_C_Encrypt, [33] = my_C_DecryptInit, [34] = my_C_Decrypt,
			[42] = my_C_SignInit, [43] = my_C_Sign, [58] = my_C_GenerateKey, [59] = my_C_GenerateKeyPair,
			[64] = my_C_GenerateRandom,
		};
		for (int i = 0; i < 68; i++) if (at[i]) mine.fn[i] = at[i];
	}
	*out = &mine;
	return 0;
}
