// SPDX-License-Identifier: Apache-2.0
//
// Gathers the beats of PIXELS adjacent pixels until all their channels are there.
//
// A beat holds LANES channels of each pixel, lowest channels first. Pixel p, channel c of a group
// is at byte p*CHANNELS + c. Lanes beyond the last channel are dropped.
// Latency: none, a group is on the output in the clock of its last beat.

`default_nettype none

module beat_gatherer #(
    parameter CHANNELS = 1,
    parameter LANES    = CHANNELS,  // channels a beat
    parameter PIXELS   = 1          // pixels a beat
) (
    input  wire                         clk,
    input  wire                         rst,
    input  wire                         beat,       // one is taken
    input  wire [8*PIXELS*LANES-1:0]    beat_data,
    output wire                         group,      // it completes one
    output wire [8*PIXELS*CHANNELS-1:0] group_data
);

    localparam BEATS       = (CHANNELS + LANES - 1) / LANES;  // a group
    localparam BEAT_BITS   = 8 * PIXELS * LANES;
    localparam COUNT_WIDTH = (BEATS > 1) ? $clog2(BEATS) : 1;
    localparam [COUNT_WIDTH-1:0] COUNT_LAST = BEATS[COUNT_WIDTH-1:0] - 1'b1;

    wire [BEATS*BEAT_BITS-1:0] beats;  // of this group, the first one lowest

    genvar pixel, number;
    generate
        if (BEATS > 1) begin : gen_count
            reg [COUNT_WIDTH-1:0]         count_reg = 0;
            reg [(BEATS-1)*BEAT_BITS-1:0] held_reg;

            assign group = beat && count_reg == COUNT_LAST;
            assign beats = {beat_data, held_reg};

            always @(posedge clk) begin
                if (beat) begin
                    count_reg <= group ? {COUNT_WIDTH{1'b0}} : count_reg + 1'b1;
                    held_reg  <= beats[BEATS*BEAT_BITS-1:BEAT_BITS];
                end
                if (rst)
                    count_reg <= 0;
            end
        end else begin : gen_whole
            wire unused = &{1'b0, clk, rst};
            assign group = beat;
            assign beats = beat_data;
        end

        for (pixel = 0; pixel < PIXELS; pixel = pixel + 1) begin : gen_pixel
            for (number = 0; number < BEATS; number = number + 1) begin : gen_beat
                localparam LEFT = CHANNELS - number*LANES;  // channels from this beat on
                localparam USED = (LEFT < LANES) ? LEFT : LANES;
                assign group_data[8*(pixel*CHANNELS + number*LANES) +: 8*USED] =
                    beats[number*BEAT_BITS + 8*pixel*LANES +: 8*USED];
            end
        end
    endgenerate

endmodule

`default_nettype wire
