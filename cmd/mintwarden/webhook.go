package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mintwarden/mintwarden/api/client"
)

func (c *cli) webhookCommand() *cobra.Command {
	return group("webhook", "Tell other systems of what happens", "  mintwarden webhook create --url https://hooks.example.com/mint --out hook.secret --as admin",
		c.webhookList(), c.webhookCreate(), c.webhookShow(), c.webhookDelete(), c.webhookTest(), c.webhookRotate(), c.webhookDeliveries(), c.webhookReplay())
}

const oneWebhook = "one webhook id, wh_…"

func (c *cli) webhookList() *cobra.Command {
	var limit int
	cmd := &cobra.Command{Use: "list", Short: "List webhooks, newest first", Example: "  mintwarden webhook list --as admin", Args: none}
	limitFlag(cmd, &limit)
	return c.leaf(cmd, func(ctx context.Context, _ []string) error {
		api, err := c.connect()
		if err != nil {
			return err
		}
		all, err := upTo(limit, api.Webhooks(ctx))
		if err != nil {
			return err
		}
		return c.show(listed[client.Webhook]{all}, func() *rows {
			r := &rows{header: []string{"webhook", "url", "events", "status", "created"}, spare: []string{"created"}}
			for _, w := range all {
				r.add(w.ID, w.URL, strings.Join(w.Events, " "), string(w.Status), stamp(w.CreatedAt))
			}
			return r
		})
	})
}

func (c *cli) webhookShow() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show WEBHOOK", Short: "Show one webhook", Example: "  mintwarden webhook show wh_01J… --as admin",
		Args: exactly(1, oneWebhook),
	}
	return c.leafOf("wh", cmd, func(ctx context.Context, api *client.Client, id string) error {
		for w, err := range api.Webhooks(ctx) {
			if err != nil {
				return err
			}
			if w.ID == id {
				return c.show(w, func() *rows { return webhookRows(&w) })
			}
		}
		return refused("there is no webhook %s; 'mintwarden webhook list' shows them", id)
	})
}

func webhookRows(w *client.Webhook) *rows {
	r := &rows{header: []string{"webhook", w.ID}}
	r.add("url", w.URL)
	r.add("events", strings.Join(w.Events, " "))
	if w.Description != "" {
		r.add("description", w.Description)
	}
	status := string(w.Status)
	if w.Status == client.WebhookStatusDISABLED {
		status += ": this appliance cannot sign for it; rotate its secret"
	}
	r.add("status", status)
	r.add("created", stamp(w.CreatedAt))
	r.add("changed", stamp(w.UpdatedAt))
	if w.PreviousSecretExpiresAt != nil {
		r.add("secret before signs until", stamp(*w.PreviousSecretExpiresAt))
	}
	return r
}

func (c *cli) webhookCreate() *cobra.Command {
	var url, out, description, key string
	var events []string
	cmd := &cobra.Command{
		Use:   "create --url URL --out FILE",
		Short: "Have events posted to an endpoint; its secret is shown this once",
		Long: `Have events posted to an endpoint; its secret is shown this once.

Every delivery is signed with the secret, by which the endpoint knows it. The
secret is written to FILE, readable by you alone, or with --out - to standard
output. It is kept encrypted and shown to nobody: if it is lost, rotate it.`,
		Example: `  mintwarden webhook create --url https://hooks.example.com/mint --event token.minted --event token.burned \
      --out hook.secret --as admin`,
		Args: none,
	}
	f := cmd.Flags()
	f.StringVar(&url, "url", "", "where events are posted to; https")
	f.StringVar(&out, "out", "", "new file for the secret, or - for standard output")
	f.StringSliceVar(&events, "event", []string{"*"}, "an event's type, a group such as token.*, or * for all")
	f.StringVar(&description, "description", "", "a note for people")
	keyFlag(f, &key)
	required(cmd, "url", "out")
	return c.leaf(cmd, func(ctx context.Context, _ []string) error {
		api, err := c.connect()
		if err != nil {
			return err
		}
		// The file comes first: a secret that cannot be kept is not made.
		file, err := keyFile(out)
		if err != nil {
			return err
		}
		made, err := api.CreateWebhook(ctx, client.WebhookCreate{URL: url, Events: events, Description: pointer(description)}, keyed(key)...)
		if err != nil {
			return keepNothing(file, err)
		}
		return c.handOverSecret(made, file)
	})
}

// handOverSecret writes a webhook's secret, and it alone, where it was asked for.
func (c *cli) handOverSecret(made *client.WebhookCreated, file *os.File) error {
	if made.Secret == nil {
		return keepNothing(file, refused("this idempotency key was answered before, and a secret is shown once; rotate that of %s", made.ID))
	}
	if file == nil {
		if c.json {
			return c.showJSON(made)
		}
		c.out.printf("%s\n", printable(*made.Secret))
		return nil
	}
	_, err := fmt.Fprintln(file, *made.Secret)
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return fmt.Errorf("the secret of %s could not be kept, so rotate it: %w", made.ID, err)
	}
	if c.json {
		made.Secret = nil
		return c.showJSON(made)
	}
	c.say("%s posts %s to %s", made.ID, strings.Join(made.Events, " "), made.URL)
	c.say("its secret is in %s", file.Name())
	return nil
}

func (c *cli) webhookDelete() *cobra.Command {
	var key string
	cmd := &cobra.Command{
		Use: "delete WEBHOOK", Short: "End a webhook; what is still to be delivered is dropped", Example: "  mintwarden webhook delete wh_01J… --as admin",
		Args: exactly(1, oneWebhook),
	}
	keyFlag(cmd.Flags(), &key)
	return c.leafOf("wh", cmd, func(ctx context.Context, api *client.Client, id string) error {
		w, err := api.DeleteWebhook(ctx, id, keyed(key)...)
		if err != nil {
			return err
		}
		return c.tell(w, "%s is deleted", w.ID)
	})
}

func (c *cli) webhookRotate() *cobra.Command {
	var out, key string
	var grace time.Duration
	cmd := &cobra.Command{
		Use:   "rotate WEBHOOK --out FILE",
		Short: "Give a webhook a new secret; both sign for a while",
		Long: `Give a webhook a new secret; both sign for a while.

Until --grace is over deliveries carry signatures by both secrets, so that the
endpoint can change in between. --grace 0s ends the old one at once, for one
that got into wrong hands.`,
		Example: "  mintwarden webhook rotate wh_01J… --grace 1h --out hook.secret --as admin",
		Args:    exactly(1, oneWebhook),
	}
	f := cmd.Flags()
	f.StringVar(&out, "out", "", "new file for the secret, or - for standard output")
	f.DurationVar(&grace, "grace", 24*time.Hour, "how long the old secret still signs, at most 168h")
	keyFlag(f, &key)
	required(cmd, "out")
	return c.leaf(cmd, func(ctx context.Context, args []string) error {
		if err := checkID("wh", args[0]); err != nil {
			return err
		}
		if grace < 0 || grace > 7*24*time.Hour || grace%time.Second != 0 {
			return usagef("--grace %s: want whole seconds, up to 168h", grace)
		}
		api, err := c.connect()
		if err != nil {
			return err
		}
		file, err := keyFile(out)
		if err != nil {
			return err
		}
		seconds := int(grace / time.Second)
		made, err := api.RotateWebhook(ctx, args[0], client.WebhookRotate{GraceSeconds: &seconds}, keyed(key)...)
		if err != nil {
			return keepNothing(file, err)
		}
		return c.handOverSecret(made, file)
	})
}

// deliveryPoll is how often a delivery that is waited for is looked at.
const deliveryPoll = 250 * time.Millisecond

func (c *cli) webhookTest() *cobra.Command {
	var wait time.Duration
	var key string
	cmd := &cobra.Command{
		Use:   "test WEBHOOK",
		Short: "Send an endpoint an event of type webhook.test and say what came back",
		Example: `  mintwarden webhook test wh_01J… --as admin
  mintwarden webhook test wh_01J… --wait 0s --as admin     # do not wait for the answer`,
		Args: exactly(1, oneWebhook),
	}
	cmd.Flags().DurationVar(&wait, "wait", 15*time.Second, "how long to wait for the first attempt")
	keyFlag(cmd.Flags(), &key)
	return c.leafOf("wh", cmd, func(ctx context.Context, api *client.Client, id string) error {
		d, err := api.TestWebhook(ctx, id, keyed(key)...)
		if err != nil {
			return err
		}
		return c.showDelivery(ctx, api, d, wait)
	})
}

func (c *cli) webhookReplay() *cobra.Command {
	var wait time.Duration
	var key string
	cmd := &cobra.Command{
		Use: "replay WEBHOOK DELIVERY", Short: "Deliver an event once more, under its own id", Example: "  mintwarden webhook replay wh_01J… del_01J… --as admin",
		Args: exactly(2, "a webhook id, wh_…, and a delivery id, del_…"),
	}
	cmd.Flags().DurationVar(&wait, "wait", 15*time.Second, "how long to wait for the first attempt")
	keyFlag(cmd.Flags(), &key)
	return c.leaf(cmd, func(ctx context.Context, args []string) error {
		if err := checkID("wh", args[0]); err != nil {
			return err
		}
		if err := checkID("del", args[1]); err != nil {
			return err
		}
		api, err := c.connect()
		if err != nil {
			return err
		}
		d, err := api.ReplayWebhookDelivery(ctx, args[0], args[1], keyed(key)...)
		if err != nil {
			return err
		}
		return c.showDelivery(ctx, api, d, wait)
	})
}

// showDelivery waits for a delivery's next attempt, says what became of it, and fails if it failed.
func (c *cli) showDelivery(ctx context.Context, api *client.Client, d *client.WebhookDelivery, wait time.Duration) error {
	had := len(d.Attempts)
	deadline := time.Now().Add(wait)
	for len(d.Attempts) == had && time.Now().Before(deadline) {
		select {
		case <-time.After(deliveryPoll):
		case <-ctx.Done():
			return ctx.Err()
		}
		limit := 200
		l, err := api.ListWebhookDeliveries(ctx, d.WebhookID, client.ListWebhookDeliveriesParams{Limit: &limit})
		if err != nil {
			return err
		}
		for _, one := range l.Data {
			if one.ID == d.ID {
				d = &one
			}
		}
	}
	if err := c.show(d, func() *rows { return deliveryRows(d) }); err != nil {
		return err
	}
	if n := len(d.Attempts); n > had && d.Attempts[n-1].Error != nil {
		return refused("the endpoint did not take it: %s", *d.Attempts[n-1].Error)
	}
	return nil
}

func deliveryRows(d *client.WebhookDelivery) *rows {
	r := &rows{header: []string{"delivery", d.ID}}
	r.add("webhook", d.WebhookID)
	r.add("event", d.EventID+" "+d.EventType)
	r.add("status", string(d.Status))
	for _, a := range d.Attempts {
		r.add("attempt at "+stamp(a.At), attemptText(&a))
	}
	if d.NextAttemptAt != nil {
		r.add("next attempt", stamp(*d.NextAttemptAt))
	}
	return r
}

func attemptText(a *client.WebhookAttempt) string {
	took := (time.Duration(a.DurationMs) * time.Millisecond).String()
	switch {
	case a.Error != nil:
		return *a.Error + " (" + took + ")"
	case a.StatusCode != nil:
		return fmt.Sprintf("status %d (%s)", *a.StatusCode, took)
	}
	return took
}

func (c *cli) webhookDeliveries() *cobra.Command {
	var limit int
	var status string
	cmd := &cobra.Command{
		Use: "deliveries WEBHOOK", Short: "List what was, or is to be, delivered to an endpoint, newest first",
		Example: `  mintwarden webhook deliveries wh_01J… --as admin
  mintwarden webhook deliveries wh_01J… --status DEAD --as admin`,
		Args: exactly(1, oneWebhook),
	}
	limitFlag(cmd, &limit)
	cmd.Flags().StringVar(&status, "status", "", "only those: PENDING, DELIVERED or DEAD")
	return c.leaf(cmd, func(ctx context.Context, args []string) error {
		if err := checkID("wh", args[0]); err != nil {
			return err
		}
		var filter client.ListWebhookDeliveriesParams
		if status != "" {
			s := client.DeliveryStatus(strings.ToUpper(status))
			filter.Status = &s
		}
		api, err := c.connect()
		if err != nil {
			return err
		}
		all, err := upTo(limit, api.WebhookDeliveries(ctx, args[0], filter))
		if err != nil {
			return err
		}
		return c.show(listed[client.WebhookDelivery]{all}, func() *rows {
			r := &rows{header: []string{"delivery", "event", "status", "attempts", "last", "created"}, spare: []string{"created", "attempts"}}
			for _, d := range all {
				last := "–"
				if n := len(d.Attempts); n > 0 {
					last = attemptText(&d.Attempts[n-1])
				}
				r.add(d.ID, d.EventType, string(d.Status), fmt.Sprint(len(d.Attempts)), last, stamp(d.CreatedAt))
			}
			return r
		})
	})
}
