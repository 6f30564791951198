// SPDX-License-Identifier: Apache-2.0
//
// Packs the pixels of a feature map into a dense vector of bytes, SIMD a beat: the lanes that a
// pixel's last beat leaves unused are dropped, so that elements follow each other in order of
// arrival. The vector's last beat is filled up with zeros and marked by tlast.
//
// Takes a beat every clock while the output keeps up, also across vectors.
// Latency: 2 clocks from the beat that completes SIMD bytes.

`default_nettype none

module width_converter #(
    parameter POSITIONS = 1,  // pixels of a vector, a multiple of PIXELS
    parameter CHANNELS  = 1,  // bytes of a pixel
    parameter LANES     = 1,  // bytes of a pixel in a beat; a divisor of CHANNELS if PIXELS > 1
    parameter PIXELS    = 1,  // pixels in an input beat
    parameter SIMD      = 1   // bytes of an output beat
) (
    input  wire                      clk,
    input  wire                      rst,
    input  wire [8*PIXELS*LANES-1:0] s_axis_tdata,
    input  wire                      s_axis_tvalid,
    output wire                      s_axis_tready,
    output wire [8*SIMD-1:0]         m_axis_tdata,
    output wire                      m_axis_tlast,
    output wire                      m_axis_tvalid,
    input  wire                      m_axis_tready
);

    function integer gcd;
        input integer a, b;
        integer x, y, r;
        begin
            x = a;
            y = b;
            while (y != 0) begin
                r = x % y;
                x = y;
                y = r;
            end
            gcd = x;
        end
    endfunction

    localparam BEATS       = (CHANNELS + LANES - 1) / LANES;  // input beats a pixel
    localparam GROUPS      = POSITIONS / PIXELS;
    localparam CHUNKS      = (POSITIONS*CHANNELS + SIMD - 1) / SIMD;
    localparam BEAT_BYTES  = PIXELS * LANES;
    localparam SHORT_BYTES = PIXELS * (CHANNELS - (BEATS - 1)*LANES);  // a pixel's last beat
    localparam PAD_BYTES   = CHUNKS*SIMD - POSITIONS*CHANNELS;

    // All amounts are multiples of UNIT bytes; so there are the fewest places to insert at.
    localparam UNIT  = gcd(gcd(BEAT_BYTES, SHORT_BYTES), SIMD);
    localparam FULL  = BEAT_BYTES / UNIT;
    localparam SHORT = SHORT_BYTES / UNIT;
    localparam FINAL = (SHORT_BYTES + PAD_BYTES) / UNIT;  // the vector's last beat with its zeros
    localparam CHUNK = SIMD / UNIT;
    localparam MOST  = (FINAL > FULL) ? FINAL : FULL;
    localparam ROOM  = 2*CHUNK + MOST;  // units; less would idle a wide input or a wide output

    localparam BEAT_WIDTH  = (BEATS > 1) ? $clog2(BEATS) : 1;
    localparam GROUP_WIDTH = (GROUPS > 1) ? $clog2(GROUPS) : 1;
    localparam CHUNK_WIDTH = (CHUNKS > 1) ? $clog2(CHUNKS) : 1;
    localparam [BEAT_WIDTH-1:0]  BEAT_LAST   = BEATS[BEAT_WIDTH-1:0] - 1'b1;
    localparam [GROUP_WIDTH-1:0] GROUP_LAST  = GROUPS[GROUP_WIDTH-1:0] - 1'b1;
    localparam [CHUNK_WIDTH-1:0] CHUNK_LAST  = CHUNKS[CHUNK_WIDTH-1:0] - 1'b1;

    generate
        if (PIXELS > 1 && CHANNELS % LANES != 0) begin : gen_bad_lanes
            error_LANES_must_divide_CHANNELS_where_PIXELS_is_over_1 error();
        end
        if (POSITIONS % PIXELS != 0) begin : gen_bad_positions
            error_POSITIONS_must_be_a_multiple_of_PIXELS error();
        end
    endgenerate

    localparam UNIT_BITS = 8 * UNIT;

    reg [BEAT_WIDTH-1:0]     beat_reg = 0;
    reg [GROUP_WIDTH-1:0]    group_reg = 0;
    reg [CHUNK_WIDTH-1:0]    chunk_reg = 0;
    // Bit n: more than n units are held. In this code a fill is compared without logic, and added
    // to by a shift.
    reg [ROOM-1:0]           fill_reg = 0;
    reg [UNIT_BITS*ROOM-1:0] units_reg;  // oldest lowest; all above the fill is don't-care
    reg [8*SIMD-1:0]         out_reg;
    reg                      out_last_reg, out_valid_reg = 1'b0;

    assign s_axis_tready = !fill_reg[ROOM-MOST];
    assign m_axis_tdata  = out_reg;
    assign m_axis_tlast  = out_last_reg;
    assign m_axis_tvalid = out_valid_reg;

    wire accept      = s_axis_tvalid && s_axis_tready;
    wire short_beat  = beat_reg == BEAT_LAST;
    wire final_beat  = short_beat && group_reg == GROUP_LAST;
    wire last_chunk  = chunk_reg == CHUNK_LAST;
    wire give        = (!out_valid_reg || m_axis_tready) && fill_reg[CHUNK-1];

    // What stays, and the beat with zeros for what it lacks of a vector's end.
    wire [ROOM-1:0]           kept = give ? fill_reg >> CHUNK : fill_reg;
    wire [ROOM-1:0]           first_free = ~kept & {kept[ROOM-2:0], 1'b1};
    wire [UNIT_BITS*ROOM-1:0] left = give ? units_reg >> 8*SIMD : units_reg;
    wire [UNIT_BITS*MOST-1:0] offered;

    genvar unit;
    generate
        for (unit = 0; unit < MOST; unit = unit + 1) begin : gen_offered
            if (unit < SHORT) begin : gen_always
                assign offered[UNIT_BITS*unit +: UNIT_BITS] =
                    s_axis_tdata[UNIT_BITS*unit +: UNIT_BITS];
            end else if (unit < FULL) begin : gen_full
                assign offered[UNIT_BITS*unit +: UNIT_BITS] =
                    short_beat ? {UNIT_BITS{1'b0}} : s_axis_tdata[UNIT_BITS*unit +: UNIT_BITS];
            end else begin : gen_zero
                assign offered[UNIT_BITS*unit +: UNIT_BITS] = {UNIT_BITS{1'b0}};
            end
        end

        // Unit i of the beat lands i places above the first free one.
        for (unit = 0; unit < ROOM; unit = unit + 1) begin : gen_place
            reg [UNIT_BITS-1:0] landed;
            integer             i;
            always @* begin
                landed = {UNIT_BITS{1'b0}};
                for (i = 0; i < MOST && i <= unit; i = i + 1)
                    if (first_free[unit-i])
                        landed = landed | offered[UNIT_BITS*i +: UNIT_BITS];
            end
            always @(posedge clk)
                units_reg[UNIT_BITS*unit +: UNIT_BITS] <=
                    kept[unit] ? left[UNIT_BITS*unit +: UNIT_BITS] : landed;
        end
    endgenerate

    always @(posedge clk) begin
        if (accept) begin
            beat_reg <= short_beat ? {BEAT_WIDTH{1'b0}} : beat_reg + 1'b1;
            if (short_beat)
                group_reg <= final_beat ? {GROUP_WIDTH{1'b0}} : group_reg + 1'b1;
        end
        if (give)
            chunk_reg <= last_chunk ? {CHUNK_WIDTH{1'b0}} : chunk_reg + 1'b1;
        fill_reg <= !accept    ? kept :
                    final_beat ? ~(~kept << FINAL) :
                    short_beat ? ~(~kept << SHORT) : ~(~kept << FULL);
        if (!out_valid_reg || m_axis_tready) begin
            out_valid_reg <= give;
            out_last_reg  <= last_chunk;
            out_reg       <= units_reg[8*SIMD-1:0];
        end
        if (rst) begin
            beat_reg      <= 0;
            group_reg     <= 0;
            chunk_reg     <= 0;
            fill_reg      <= 0;
            out_valid_reg <= 1'b0;
        end
    end

endmodule

`default_nettype wire
